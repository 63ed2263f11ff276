"""Drift of a model version: against its profile, or against the first rows that it answers."""

from __future__ import annotations

from monitors.drift.column_drift import DriftMonitor, every_column
from monitors.drift.live_drift import LiveDriftMonitor
from serving.config import ConfigError
from serving.models.profile.columns import fixed_columns
from serving.models.profile.files import read_drift_reference
from serving.models.repository.folder import ModelEntry
from serving.monitoring.judges.descriptor import Blind, Built

MOST_NAMED = 5
"""Columns that a note names."""


def build(entry: ModelEntry) -> Built:
    """Return the monitor of `monitors.drift`; none where it needs a profile that is not there."""
    config = entry.config.monitors.drift
    assert config is not None
    if config.reference == "live":
        rows, window = config.reference_rows, config.window
        return Built(LiveDriftMonitor(rows, window, config.false_alarm_rate, config.min_psi))
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
    monitor = DriftMonitor(
        reference,
        every_column(reference),
        window=config.window,
        false_alarm_rate=config.false_alarm_rate,
        min_psi=config.min_psi,
    )
    absent = sorted(fixed_columns(entry.config) - reference.columns.keys())
    return Built(monitor, (_in_part(absent),) if absent else ())


def _in_part(absent: list[str]) -> Blind:
    names = ", ".join(f"'{name}'" for name in absent[:MOST_NAMED])
    more = f" and {len(absent) - MOST_NAMED} more" if len(absent) > MOST_NAMED else ""
    why = f"the profile has no column {names}{more}; run `vigil profile` again"
    return Blind(why, in_part=True)
