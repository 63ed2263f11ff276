"""Performance of a model version on rows without labels, as the profile's labelled rows tell it."""

from __future__ import annotations

from serving.config import ConfigError
from serving.models.consumers import ESTIMATION
from serving.models.profile.files import read_estimation
from serving.models.repository.folder import ModelEntry
from serving.monitoring.judges.budgets import rate
from serving.monitoring.judges.descriptor import Blind, Built
from serving.monitoring.judges.performance import known_thresholds


def build(entry: ModelEntry) -> Built:
    """Return the monitor of `monitors.estimation`; none where the profile has no labelled rows."""
    config = entry.config
    settings = config.monitors.estimation
    assert settings is not None
    try:
        fitted = read_estimation(entry)
    except ConfigError as error:
        return Built(None, (Blind(error.message),))
    if fitted is None:
        why = (
            f"the profile has too few labelled rows with scores or numbers; run `vigil profile "
            f"{entry.name} --data FILE --label COLUMN`, or set monitors.estimation to null in its "
            f"model.yaml"
        )
        # It is on unless somebody says otherwise, and most profiles have no labels.
        return Built(None, (Blind(why, by_default=True),))
    # Here, because most models have no labelled rows.
    from monitors.estimation.estimated_performance import (
        EstimatedPerformanceMonitor,
        EstimationSettings,
    )

    # What is missing of thresholds to be learnt, the monitor of performance tells.
    limits, _ = known_thresholds(entry)
    judged = EstimationSettings(limits, settings.every_s, rate(config, ESTIMATION))
    return Built(EstimatedPerformanceMonitor(fitted, judged))
