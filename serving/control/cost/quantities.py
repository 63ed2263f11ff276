"""What is counted of a model, by key; sums of it, and differences.

| Key | Unit | What |
|---|---|---|
| `rows` | rows | predictions |
| `upstream` | rows | those of `rows` that another server computed |
| `cpu/ROLE` | s | processor time in processes of the role |
| `check/NAME` | s | the part of `cpu/monitor` that a check took |
| `guard/NAME` | s | elapsed time of a guard, a part of gateways' or replicas' time |
| `gpu/UUID` | s | time of computing on a GPU |
| `energy/SOURCE` | µJ | a share of what a device told, in whole numbers: shares add up exactly |
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from serving.telemetry.metrics.cost import (
    CHECK_CPU_TIME,
    MODEL_CPU_TIME,
    MODEL_GPU_TIME,
    NO_MODEL,
)
from serving.telemetry.metrics.guards import GUARD_DURATION
from serving.telemetry.metrics.inference import INFERENCE_ROWS
from serving.telemetry.series import Series

Counts = dict[str, float]
"""Amounts by key."""
ByModel = dict[str, Counts]
"""Amounts by model; those of no model stand under `NO_MODEL`."""

ROWS: Final = "rows"
UPSTREAM: Final = "upstream"
CPU: Final = "cpu/"
CHECK: Final = "check/"
GUARD: Final = "guard/"
GPU: Final = "gpu/"
ENERGY: Final = "energy/"
DEVICE: Final = "device/"
"""No amount: what a device that tells its energy is called where it is noted for how long."""

_KEYS: Final[Mapping[str, Callable[[Mapping[str, str]], str]]] = {
    INFERENCE_ROWS.name: lambda _: ROWS,
    MODEL_CPU_TIME.name: lambda about: CPU + about["role"],
    CHECK_CPU_TIME.name: lambda about: CHECK + about["check"],
    GUARD_DURATION.name: lambda about: GUARD + about["guard"],
    MODEL_GPU_TIME.name: lambda about: GPU + about["device"],
}


def counted(series: Iterable[Series]) -> ByModel:
    """Return what an instance's totals say, over all versions of each model."""
    found: ByModel = {}
    for item in series:
        key = _KEYS.get(item.name)
        if key is not None:
            about = dict(item.attributes)
            amounts = found.setdefault(about.get("model", NO_MODEL), {})
            name = key(about)
            amounts[name] = amounts.get(name, 0) + item.value
    return found


def grown(now: ByModel, before: ByModel) -> ByModel:
    """Return by how much each amount grew; one that is less than before did not grow."""
    return {
        model: {
            key: max(0, amount - before.get(model, {}).get(key, 0))
            for key, amount in amounts.items()
        }
        for model, amounts in now.items()
    }


def add(to: ByModel, more: Mapping[str, Mapping[str, float]]) -> None:
    """Add amounts to others; what is zero leaves no key."""
    for model, amounts in more.items():
        some = {key: amount for key, amount in amounts.items() if amount}
        if some:
            sums = to.setdefault(model, {})
            for key, amount in some.items():
                sums[key] = sums.get(key, 0) + amount


def total(amounts: Mapping[str, float], prefix: str) -> float:
    """Return the sum over all keys that begin so."""
    return sum(amount for key, amount in amounts.items() if key.startswith(prefix))


def named(amounts: Mapping[str, float], prefix: str) -> dict[str, float]:
    """Return the amounts whose keys begin so, by the rest of the key."""
    return {
        key.removeprefix(prefix): amount
        for key, amount in sorted(amounts.items())
        if key.startswith(prefix)
    }
