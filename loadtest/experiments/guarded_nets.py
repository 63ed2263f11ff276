"""Networks with features on data of scikit-learn, what is foreign to them, and attacks on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_digits, load_sample_images
from torch import nn

EPOCHS: Final = 40
STEPS: Final = 30
"""Of an attack."""


class Net(nn.Module):
    """Returns logits and penultimate activations."""

    def __init__(self, body: nn.Module, width: int, classes: int) -> None:
        super().__init__()
        self.body, self.head = body, nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits [n, classes] and features [n, width]."""
        features = self.body(x)
        return self.head(features), features


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """A trained network, with rows for its guards and rows to try them on.

    Attributes:
        name: of the model.
        net: the network.
        fitted, held, clean: rows, and their classes.
        foreign: rows of other kinds by name.
        bounds: of values, for attacks.
        radius: of attacks, in each value.
    """

    name: str
    net: Net
    fitted: tuple[np.ndarray, np.ndarray]
    held: tuple[np.ndarray, np.ndarray]
    clean: tuple[np.ndarray, np.ndarray]
    foreign: Mapping[str, np.ndarray]
    bounds: tuple[float, float]
    radius: float

    def features(self, rows: np.ndarray) -> np.ndarray:
        """Return penultimate activations [n, width]."""
        with torch.no_grad():
            found: np.ndarray = self.net(torch.tensor(rows, dtype=torch.float32))[1].numpy()
        return found

    def wrong(self, rows: np.ndarray) -> np.ndarray:
        """Return which rows made of the clean ones are taken for another class, bool [n]."""
        with torch.no_grad():
            said = self.net(torch.tensor(rows, dtype=torch.float32))[0].argmax(dim=1).numpy()
        found: np.ndarray = said != self.clean[1]
        return found


def digits(seed: int, unseen: int | None = None) -> Guarded:
    """Return a convolutional network on images of digits; one class may be unseen."""
    data = load_digits()
    images = (data.images / 16)[:, None].astype(np.float32)
    known = data.target != (-1 if unseen is None else unseen)
    rng = np.random.default_rng(seed)

    def foreign(clean: np.ndarray) -> dict[str, np.ndarray]:
        found = {**_of_images(clean, rng), "photographs": _patches(rng, 300, 8, grey=True)}
        return found if unseen is None else {"unseen class": images[~known]}

    return _made("digits", _convolutional(1, 8), images[known], data.target[known], seed, foreign)


def photographs(seed: int) -> Guarded:
    """Return a convolutional network that tells patches of four parts of two photographs."""
    rng = np.random.default_rng([seed, 1])
    patches, parts = _patches(rng, 3000, 12), rng.integers(0, 4, 3000)
    for part in range(4):
        own = parts == part
        patches[own] = _patches(rng, int(own.sum()), 12, part=part)
    shown = (load_digits().images / 16).repeat(2, axis=1).repeat(2, axis=2)[:300, 2:14, 2:14]

    def foreign(clean: np.ndarray) -> dict[str, np.ndarray]:
        return {**_of_images(clean, rng), "digits": np.stack([shown] * 3, axis=1)}

    return _made("photographs", _convolutional(3, 12), patches, parts, seed, foreign)


def cancer(seed: int) -> Guarded:
    """Return a network on thirty standardised columns."""
    data = load_breast_cancer()
    rows = ((data.data - data.data.mean(axis=0)) / data.data.std(axis=0)).astype(np.float32)
    rng = np.random.default_rng(seed)

    def foreign(clean: np.ndarray) -> dict[str, np.ndarray]:
        one = 10 * np.eye(rows.shape[1])[rng.integers(rows.shape[1], size=len(clean))]
        return {
            "noise": rng.uniform(-6, 6, clean.shape),
            "columns mixed up": rng.permuted(clean, axis=1),
            "one value + 10 sd": clean + one,
            "another unit": clean * data.data.std(axis=0) + data.data.mean(axis=0),
            "times 10": clean * 10,
        }

    body = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())
    made = _made("cancer", (body, 32), rows, data.target, seed, foreign)
    return Guarded(**{**_fields(made), "bounds": (-100.0, 100.0), "radius": 0.5})


def one_step(guarded: Guarded) -> np.ndarray:
    """Return clean rows moved once along the sign of the gradient (FGSM)."""
    return _attacked(guarded, _away_from_truth(guarded), steps=1)


def many_steps(guarded: Guarded) -> np.ndarray:
    """Return clean rows moved in many small steps (PGD)."""
    return _attacked(guarded, _away_from_truth(guarded), steps=STEPS)


def aware(guarded: Guarded, seed: int) -> np.ndarray:
    """Return clean rows moved until their features are those of a reference row of another class.

    That is what an attacker does who knows how `distance` and `mahalanobis` judge.
    """
    rng = np.random.default_rng(seed)
    rows, classes = guarded.fitted
    _, truth = guarded.clean
    aims = np.stack([
        rows[rng.choice(np.flatnonzero(classes != each))] for each in truth.tolist()
    ])  # fmt: skip
    wanted = torch.tensor(guarded.features(aims))

    def loss(x: torch.Tensor) -> torch.Tensor:
        return -((guarded.net(x)[1] - wanted) ** 2).sum(dim=1).mean()

    return _attacked(guarded, loss, steps=4 * STEPS)


Loss = Callable[[torch.Tensor], torch.Tensor]


def _away_from_truth(guarded: Guarded) -> Loss:
    truth = torch.tensor(guarded.clean[1])
    return lambda x: nn.functional.cross_entropy(guarded.net(x)[0], truth)


def _attacked(guarded: Guarded, loss: Loss, steps: int) -> np.ndarray:
    start = torch.tensor(guarded.clean[0], dtype=torch.float32)
    x, stride = start.clone(), guarded.radius if steps == 1 else guarded.radius / 8
    for _ in range(steps):
        x.requires_grad_(requires_grad=True)
        (gradient,) = torch.autograd.grad(loss(x), x)
        moved = x.detach() + stride * gradient.sign()
        x = moved.clamp(start - guarded.radius, start + guarded.radius).clamp(*guarded.bounds)
    found: np.ndarray = x.detach().numpy()
    return found


def _convolutional(channels: int, size: int) -> tuple[nn.Module, int]:
    body = nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding=1), nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(32 * (size // 2) ** 2, 64), nn.ReLU(),
    )  # fmt: skip
    return body, 64


def _made(
    name: str,
    shape: tuple[nn.Module, int],
    rows: np.ndarray,
    classes: np.ndarray,
    seed: int,
    foreign: Callable[[np.ndarray], Mapping[str, np.ndarray]],
) -> Guarded:
    order = np.random.default_rng(seed).permutation(len(rows))
    # Classes from 0 on, also where one is unseen.
    rows, classes = rows[order], np.unique(classes, return_inverse=True)[1][order]
    first, second = len(rows) // 2, 3 * len(rows) // 4
    torch.manual_seed(seed)
    for module in shape[0].modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.reset_parameters()
    net = Net(*shape, int(classes.max()) + 1)
    _train(net, rows[:first], classes[:first])
    clean = rows[second:]
    return Guarded(
        name=name,
        net=net.eval(),
        fitted=(rows[:first], classes[:first]),
        held=(rows[first:second], classes[first:second]),
        clean=(clean, classes[second:]),
        foreign=foreign(clean),
        bounds=(0.0, 1.0),
        radius=0.1,
    )


def _fields(made: Guarded) -> dict[str, Any]:
    return {name: getattr(made, name) for name in Guarded.__dataclass_fields__}


def _train(net: Net, rows: np.ndarray, classes: np.ndarray) -> None:
    x, truth = torch.tensor(rows, dtype=torch.float32), torch.tensor(classes)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3, weight_decay=1e-4)
    for _ in range(EPOCHS):
        order = torch.randperm(len(x))
        for start in range(0, len(x), 64):
            some = order[start : start + 64]
            loss = nn.functional.cross_entropy(net(x[some])[0], truth[some])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()


def _of_images(clean: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    blurred = clean.astype(np.float64)
    for _ in range(2):
        sides = [np.roll(blurred, by, axis) for axis in (2, 3) for by in (1, -1)]
        blurred = (blurred + sum(sides)) / 5
    flat = np.ones((20, *clean.shape[1:]))
    return {
        "noise": rng.random((300, *clean.shape[1:])),
        "black": flat * 0,
        "white": flat,
        "times 255": clean * 255.0,
        "inverted": 1.0 - clean,
        "blurred": blurred,
    }


def _patches(
    rng: np.random.Generator, rows: int, size: int, *, part: int | None = None, grey: bool = False
) -> np.ndarray:
    """Return patches of two photographs, or of the upper or lower half of one of them."""
    images = [image / 255 for image in load_sample_images().images]
    found = []
    for _ in range(rows):
        image = images[rng.integers(2) if part is None else part // 2]
        half = image.shape[0] // 2
        top, end = (
            (0, image.shape[0]) if part is None else ((part % 2) * half, (part % 2 + 1) * half)
        )
        down, right = rng.integers(top, end - 3 * size), rng.integers(image.shape[1] - 3 * size)
        patch = image[down : down + 3 * size : 3, right : right + 3 * size : 3]
        found.append(patch.mean(axis=2)[None] if grey else patch.transpose(2, 0, 1))
    return np.array(found, np.float32)
