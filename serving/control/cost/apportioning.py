"""A device's energy, shared out to models by the time for which they used it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Final

from serving.control.cost.energy import Reading
from serving.control.cost.nvml import NVML
from serving.control.cost.quantities import CPU, ENERGY, GPU, ByModel, Counts, total
from serving.control.cost.rapl import RAPL
from serving.telemetry.metrics.cost import NO_MODEL


def share_out(microjoules: int, used: Mapping[str, float], available: float) -> dict[str, int]:
    """Return each model's part of a device's energy; the parts add up to exactly all of it.

    Args:
        microjoules: what the device has used.
        used: for how long each model used it, in seconds.
        available: for how long it could have been used by all. What is idle, and what other
            programs use, goes to `NO_MODEL`. Where models used more (their times come from
            processes that tell them a moment earlier or later), they share all.
    """
    whole = max(available, sum(used.values()))
    left = microjoules
    parts: dict[str, int] = {}
    for model, seconds in used.items():
        if model != NO_MODEL and seconds > 0:
            parts[model] = min(left, int(microjoules * (seconds / whole)))
            left -= parts[model]
    parts[NO_MODEL] = left
    return parts


def _of_processors(_device: str, seconds: float, grown: ByModel) -> tuple[Counts, float]:
    used = {model: total(amounts, CPU) for model, amounts in grown.items()}
    return used, seconds * (os.cpu_count() or 1)


def _of_gpu(device: str, seconds: float, grown: ByModel) -> tuple[Counts, float]:
    return {model: amounts.get(GPU + device, 0.0) for model, amounts in grown.items()}, seconds


_USE: Final[Mapping[str, Callable[[str, float, ByModel], tuple[Counts, float]]]] = {
    RAPL: _of_processors,
    NVML: _of_gpu,
}
"""By source: for how long each model used a device, and for how long it was there to be used."""


def energy_of(reading: Reading, grown: ByModel) -> ByModel:
    """Return each model's part of all energy that was told.

    Args:
        reading: what devices tell of the time since the last reading.
        grown: what models have used in the same time. A package's processors are not told
            apart: a model's part of each package is the same.
    """
    found: ByModel = {}
    for source, told in reading.sources.items():
        for device, microjoules in told.devices:
            used, available = _USE[source](device, reading.seconds, grown)
            for model, part in share_out(microjoules, used, available).items():
                amounts = found.setdefault(model, {})
                amounts[ENERGY + source] = amounts.get(ENERGY + source, 0) + part
    return found
