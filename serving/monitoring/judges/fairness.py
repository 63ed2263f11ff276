"""Fairness of a model version: whether its groups are treated alike."""

from __future__ import annotations

from monitors.fairness.definitions import DIFFERENCES, RATIOS
from monitors.fairness.group_fairness import GroupFairnessMonitor, Tolerances
from serving.models.consumers import FAIRNESS
from serving.models.repository.folder import ModelEntry
from serving.monitoring.judges.budgets import rate
from serving.monitoring.judges.descriptor import Built


def build(entry: ModelEntry) -> Built:
    """Return the monitor of the section `fairness`."""
    config = entry.config.fairness
    assert config is not None
    assert config.favorable is not None
    output = entry.config.outputs[0]
    given = config.tolerance.model_dump(exclude_none=True)
    tolerated = {name: most for name, most in given.items() if name in (*DIFFERENCES, *RATIOS)}
    return Built(
        GroupFairnessMonitor(
            config.sensitive,
            (output.classes or []).index(config.favorable),
            output.name,
            Tolerances(by_metric=tolerated),
            config.window,
            rate(entry.config, FAIRNESS),
            min_rows=config.min_rows,
            reference=config.reference,
        )
    )
