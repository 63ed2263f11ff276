"""Drift of a model version: of its inputs and of its answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np

from monitors.drift.distribution import DistributionDriftMonitor, DriftSettings
from monitors.drift.live_drift import LiveDriftMonitor
from monitors.monitor import Needs
from monitors.reference.profile import ReferenceProfile
from monitors.rows import Rows
from serving.config import ConfigError, ModelConfig
from serving.models.consumers import DRIFT, PREDICTION_DRIFT
from serving.models.profile.columns import answer_columns, fixed_columns
from serving.models.profile.files import read_drift_reference
from serving.models.repository.folder import ModelEntry
from serving.monitoring.judges.budgets import rate
from serving.monitoring.judges.descriptor import Blind, Built

MOST_NAMED = 5
"""Columns that a note names."""


class _Watched(NamedTuple):
    """What of rows is watched, what they need for that, and what findings call it and their sum."""

    values: Callable[[Rows], Mapping[str, np.ndarray]]
    needs: Needs
    monitor: str
    total: str


_INPUTS = _Watched(lambda rows: rows.columns, Needs(columns=True), DRIFT, "drifted_features")


def build(entry: ModelEntry) -> Built:
    """Return the monitor of the inputs; none where it needs a profile that is not there."""
    config = entry.config.monitors.drift
    assert config is not None
    if config.reference != "profile":
        return Built(_live(entry, _INPUTS))
    try:
        reference = read_drift_reference(entry)
    except ConfigError as error:
        # The other monitors, and labels, have no need of it.
        return Built(None, (Blind(error.message),))
    if reference is None or not reference.columns:
        why = (
            f"the version has no profile; run `vigil profile {entry.name} --data FILE`, "
            f"or set monitors.drift.reference to live in its model.yaml"
        )
        return Built(None, (Blind(why),))
    absent = sorted(fixed_columns(entry.config) - reference.columns.keys())
    return Built(_against(entry, _INPUTS, reference), (_in_part(absent),) if absent else ())


def build_of_predictions(entry: ModelEntry) -> Built:
    """Return the monitor of the answers; without a profile of them, against the first ones."""
    config = entry.config.monitors.drift
    assert config is not None
    watched = _of_answers(entry)
    reference = None
    if config.reference == "profile":
        try:
            profile = read_drift_reference(entry)
        except ConfigError:  # which the monitor of the inputs tells
            profile = None
        reference = profile.outputs if profile else None
    if reference is None or not reference.columns:
        return Built(_live(entry, watched))
    return Built(_against(entry, watched, reference))


def part(entry: ModelEntry) -> Built:
    """Return the monitor of a slice's inputs: a profile knows nothing of slices."""
    return Built(_live(entry, _INPUTS))


def part_of_predictions(entry: ModelEntry) -> Built:
    """Return the monitor of a slice's answers, against the first ones."""
    return Built(_live(entry, _of_answers(entry)))


def _of_answers(entry: ModelEntry) -> _Watched:
    return _Watched(
        partial(_answers, config=entry.config),
        Needs(outputs=True),
        PREDICTION_DRIFT,
        "drifted_outputs",
    )


def _answers(rows: Rows, config: ModelConfig) -> Mapping[str, np.ndarray]:
    return answer_columns(rows.outputs, config)


def _against(
    entry: ModelEntry, watched: _Watched, reference: ReferenceProfile
) -> DistributionDriftMonitor:
    config = entry.config.monitors.drift
    assert config is not None
    settings = DriftSettings(
        window=config.window,
        window_s=config.window_s,
        rate=rate(entry.config, watched.monitor),
        min_psi=config.min_psi,
    )
    return DistributionDriftMonitor(
        reference,
        settings,
        values=watched.values,
        needs=watched.needs,
        monitor=watched.monitor,
        total=watched.total,
    )


def _live(entry: ModelEntry, watched: _Watched) -> LiveDriftMonitor:
    config = entry.config.monitors.drift
    assert config is not None
    return LiveDriftMonitor(
        config.reference_rows,
        partial(_against, entry, watched),
        values=watched.values,
        needs=watched.needs,
        window=config.window,
        renewed=config.reference == "previous",
    )


def _in_part(absent: list[str]) -> Blind:
    names = ", ".join(f"'{name}'" for name in absent[:MOST_NAMED])
    more = f" and {len(absent) - MOST_NAMED} more" if len(absent) > MOST_NAMED else ""
    why = f"the profile has no column {names}{more}; run `vigil profile` again"
    return Blind(why, in_part=True)
