"""Metrics of what models cost: processor time, GPU time, energy, and their price."""

from __future__ import annotations

from typing import Final

from serving.telemetry.metric import OF_VERSION, Metric

MODEL_CPU_TIME: Final = Metric(
    "vigil.model.cpu.time",
    "sum",
    "s",
    "Processor time for a model, by role; without a model: what belongs to none.",
    labels=(*OF_VERSION, "role"),
)
CHECK_CPU_TIME: Final = Metric(
    "vigil.check.cpu.time",
    "sum",
    "s",
    "Processor time of a check in the monitor.",
    labels=(*OF_VERSION, "check"),
)
MODEL_GPU_TIME: Final = Metric(
    "vigil.model.gpu.time",
    "sum",
    "s",
    "Time for which replicas of a model computed on a GPU.",
    labels=(*OF_VERSION, "device"),
)
ENERGY_JOULES: Final = Metric(
    "vigil.energy.joules",
    "sum",
    "J",
    "Energy that a device told, by source; without a model: what belongs to none.",
    labels=("model", "source"),
)
COST: Final = Metric(
    "vigil.cost",
    "sum",
    "{currency}",
    "What a model has cost at the configured prices, by resource.",
    labels=("model", "currency", "resource"),
)

NO_MODEL: Final = ""
"""In the place of a model's name: what belongs to no model."""

GATEWAY: Final = "gateway"
REPLICA: Final = "replica"
MONITOR: Final = "monitor"
EXPLAINER: Final = "explainer"
ROLES: Final = (REPLICA, GATEWAY, MONITOR, EXPLAINER)
"""Values of `role`."""

UNKNOWN_GPU: Final = "unknown"
"""In the place of a GPU's UUID, where the runtime that computes on it does not tell it."""
