"""Puts a torch model together: its forward passes compiled if asked for, on a CPU or a GPU."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import torch

from serving.models.buckets import buckets_of, in_buckets
from serving.models.compiled import compiled
from serving.models.repository import ModelEntry
from serving.models.torch_model import Run, TorchModel

_log = logging.getLogger("vigil.models")


def assemble(
    entry: ModelEntry,
    device: torch.device,
    run: Run,
    run_with_features: Run | None,
    make_module: Callable[[], torch.nn.Module],
) -> TorchModel:
    """Return the model that serves `run`; the arguments are those of `TorchModel`.

    Raises:
        ConfigError: what compiling needs is not installed, or a datatype is not torch's.
    """
    config = entry.config
    if config.compile == "cuda-graphs" and device.type == "cpu":
        _log.warning("model '%s': compile: cuda-graphs does nothing on a CPU", entry.name)
    elif config.compile != "none":
        buckets = buckets_of(config.batching)
        run = _in_buckets(entry, run, device, buckets)
        if run_with_features is not None:
            run_with_features = _in_buckets(entry, run_with_features, device, buckets)
    return TorchModel(entry, device, run, run_with_features, make_module)


def _in_buckets(entry: ModelEntry, run: Run, device: torch.device, buckets: Sequence[int]) -> Run:
    if entry.config.compile != "cuda-graphs":
        run = compiled(entry, run, device, buckets)
    return in_buckets(run, buckets)
