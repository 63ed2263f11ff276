"""Trains a demo network: the same data and seed give the same weights, bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

Progress = Callable[[str, int, int], None]
"""Told of every step: what is being done, steps done, steps in all."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one network is trained.

    Attributes:
        epochs: passes over the training rows.
        batch_size: rows per step.
        learning_rate: the highest, reached after a third of the steps (one-cycle schedule).
        weight_decay: of AdamW.
        label_smoothing: keeps probabilities from running to 0 and 1.
        seed: of the initial weights and of the order of rows.
    """

    epochs: int
    batch_size: int
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    label_smoothing: float = 0.0
    seed: int = 0


@contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """Compute with one thread and a seeded generator; both are put back afterwards.

    The order in which threads add up partial sums would change the weights' last bits.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)


def train(
    build: Callable[[], torch.nn.Module],
    prepare: Callable[[Any], None],
    inputs: Sequence[np.ndarray],
    labels: np.ndarray,
    recipe: Recipe,
    progress: Callable[[int, int], None],
) -> torch.nn.Module:
    """Train a network in float32 and return it in evaluation mode, with float64 weights.

    Args:
        build: makes the network; it has a method `logits(*inputs)` that returns
            `(logits, features)`.
        prepare: sets what is not learned, such as the scaling of inputs.
        inputs: arrays whose first axis is the row, in the order of the network's arguments.
        labels: class numbers, int64 [n].
        recipe: how.
        progress: told of every epoch.
    """
    with reproducible(recipe.seed):
        # Training is twice as fast in float32, and its weights fit into float64 exactly.
        network: Any = build().float()
        prepare(network)
        _fit(network, [torch.from_numpy(array) for array in inputs], labels, recipe, progress)
        trained: torch.nn.Module = network.double().eval().requires_grad_(requires_grad=False)
        return trained


def _fit(
    network: Any,
    inputs: list[torch.Tensor],
    labels: np.ndarray,
    recipe: Recipe,
    progress: Callable[[int, int], None],
) -> None:
    truth = torch.from_numpy(labels)
    steps = recipe.epochs * -(-len(truth) // recipe.batch_size)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, steps)
    network.train()
    for epoch in range(recipe.epochs):
        order = torch.randperm(len(truth))
        for start in range(0, len(truth), recipe.batch_size):
            rows = order[start : start + recipe.batch_size]
            logits, _ = network.logits(*(array[rows] for array in inputs))
            loss = torch.nn.functional.cross_entropy(
                logits, truth[rows], label_smoothing=recipe.label_smoothing
            )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        progress(epoch + 1, recipe.epochs)
