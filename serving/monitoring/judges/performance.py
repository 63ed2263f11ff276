"""Performance of a model version on the rows whose truth is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from monitors.performance.labelled_performance import LabelledPerformanceMonitor
from serving.config import ConfigError
from serving.config.performance_thresholds import thresholds
from serving.models.consumers import PERFORMANCE
from serving.models.performance_counts import measured
from serving.models.profile.files import read_performance
from serving.models.repository.folder import ModelEntry
from serving.monitoring.judges.budgets import rate
from serving.monitoring.judges.descriptor import Blind, Built

WINDOW: Final = 200
"""Labelled rows per window: few, because labels are rarer than predictions."""
_TITLES: Final = {"numbers": "error", "ranking": "ranking"}


def build(entry: ModelEntry) -> Built:
    """Return the monitor of `monitors.performance`: what it measures depends on the labels.

    Metrics whose threshold is to be learnt, and is not in the profile, have no verdict.
    """
    config, kind = entry.config, entry.config.label_kind
    performance = config.monitors.performance
    assert performance is not None
    found, blind = learnt(entry, performance.learn)
    limits = {**found, **thresholds(performance, kind)}
    counts, metrics = measured(config)
    monitor = LabelledPerformanceMonitor(
        counts, metrics, limits, WINDOW, rate(config, PERFORMANCE)
    )  # fmt: skip
    return Built(monitor, blind, _TITLES.get(kind or "", ""))


def learnt(
    entry: ModelEntry, names: Sequence[str]
) -> tuple[Mapping[str, float], tuple[Blind, ...]]:
    """Return thresholds from the profile, and what is not in it.

    Args:
        entry: the model version.
        names: metrics whose threshold is to be learnt.
    """
    if not names:
        return {}, ()
    try:
        known = read_performance(entry) or {}
    except ConfigError as error:
        return {}, (Blind(error.message, in_part=True),)
    absent = [name for name in names if name not in known]
    found = {name: known[name].threshold for name in names if name in known}
    if not absent:
        return found, ()
    why = (
        f"the profile has no threshold of {', '.join(absent)}; run `vigil profile {entry.name} "
        f"--data FILE --label COLUMN`, or set monitors.performance.thresholds in its model.yaml"
    )
    return found, (Blind(why, in_part=True),)
