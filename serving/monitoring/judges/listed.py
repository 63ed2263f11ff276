"""Every kind of monitor that can run: the only place that knows them by name.

A new one is a file with a `build` and an entry here; one with a configuration section of its own
also has a line in `serving.models.consumers`, which gateways go by.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from serving.config import ModelConfig
from serving.models.consumers import (
    DATA_QUALITY,
    DRIFT,
    ESTIMATION,
    FAIRNESS,
    GUARD_RATE,
    PERFORMANCE,
    PREDICTION_DRIFT,
    QUALITY,
    consumers,
)
from serving.models.repository.folder import ModelEntry
from serving.monitoring.judges.descriptor import Built, MonitorDescriptor


def _consumes(name: str) -> Callable[[ModelConfig], bool]:
    return lambda config: name in consumers(config)


# A monitor's libraries are imported when the first model wants it.


def _drift(entry: ModelEntry) -> Built:
    from serving.monitoring.judges.drift import build

    return build(entry)


def _prediction_drift(entry: ModelEntry) -> Built:
    from serving.monitoring.judges.drift import build_of_predictions

    return build_of_predictions(entry)


def _fairness(entry: ModelEntry) -> Built:
    from serving.monitoring.judges.fairness import build

    return build(entry)


def _quality(entry: ModelEntry) -> Built:
    from serving.monitoring.judges.quality import build

    return build(entry)


def _data_quality(entry: ModelEntry) -> Built:
    from serving.monitoring.judges.quality import build_of_inputs

    return build_of_inputs(entry)


def _performance(entry: ModelEntry) -> Built:
    from serving.monitoring.judges.performance import build

    return build(entry)


def _estimation(entry: ModelEntry) -> Built:
    from serving.monitoring.judges.estimation import build

    return build(entry)


def _drift_of_slice(entry: ModelEntry) -> Built:
    from serving.monitoring.judges.drift import part

    return part(entry)


def _prediction_drift_of_slice(entry: ModelEntry) -> Built:
    from serving.monitoring.judges.drift import part_of_predictions

    return part_of_predictions(entry)


def _data_quality_of_slice(entry: ModelEntry) -> Built:
    from serving.monitoring.judges.quality import part_of_inputs

    return part_of_inputs(entry)


def _guard_rate(entry: ModelEntry) -> Built:
    from serving.monitoring.judges.guard_rate import build

    return build(entry)


def _unstated(config: ModelConfig) -> str:
    if GUARD_RATE in consumers(config):
        return ""
    from serving.monitoring.judges.guard_rate import unstated

    return unstated(config)


MONITORS: Final = (
    MonitorDescriptor(
        name=DRIFT,
        wanted=_consumes(DRIFT),
        build=_drift,
        part=_drift_of_slice,
        unwanted="its monitors.drift is null",
    ),
    MonitorDescriptor(
        name=PREDICTION_DRIFT,
        wanted=_consumes(PREDICTION_DRIFT),
        build=_prediction_drift,
        part=_prediction_drift_of_slice,
        title="drift of answers",
    ),
    MonitorDescriptor(
        name=FAIRNESS,
        wanted=_consumes(FAIRNESS),
        build=_fairness,
        part=_fairness,
    ),
    MonitorDescriptor(
        name=DATA_QUALITY,
        wanted=_consumes(DATA_QUALITY),
        build=_data_quality,
        part=_data_quality_of_slice,
        title="data quality",
    ),
    MonitorDescriptor(name=QUALITY, wanted=_consumes(QUALITY), build=_quality),
    MonitorDescriptor(
        name=PERFORMANCE,
        wanted=_consumes(PERFORMANCE),
        build=_performance,
        part=_performance,
        title="accuracy",
    ),
    MonitorDescriptor(
        name=GUARD_RATE,
        wanted=_consumes(GUARD_RATE),
        build=_guard_rate,
        title="guard rate",
        lacks=_unstated,
    ),
    MonitorDescriptor(
        name=ESTIMATION,
        wanted=_consumes(ESTIMATION),
        build=_estimation,
        title="estimated performance",
    ),
)
"""In the order in which they are shown rows and told of."""
