"""Drift against the first rows of the stream itself, for models that have no reference data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from monitors.drift import DriftMonitor, every_column
from monitors.events import PredictionEvent
from monitors.finding import Finding
from monitors.reference import ReferenceProfile


class LiveDriftMonitor:
    """Fits a reference to the first rows and then is a `DriftMonitor` of the rows that follow.

    Whatever was wrong in those rows already is what later ones are compared with. They are only
    held in memory until there are enough: a profile keeps counts, and no row reaches a disk, so
    collecting begins anew after a restart. A batch whose columns are not those of the first one
    (an input without a fixed shape) is left out of the reference.

    Args:
        rows: to collect.
        window: rows per tumbling window.
        false_alarm_rate: see `DriftMonitor`.
        min_psi: see `DriftMonitor`.
    """

    def __init__(self, rows: int, window: int, false_alarm_rate: float, min_psi: float) -> None:
        self._rows = rows
        self._window, self._rate, self._min_psi = window, false_alarm_rate, min_psi
        self.reset()

    def reset(self) -> None:
        """Forget the reference and what was found with it; collect a new one."""
        self._parts: list[Mapping[str, np.ndarray]] = []
        self._collected = 0
        self._since = 0.0
        self._reference: ReferenceProfile | None = None
        self._drift: DriftMonitor | None = None

    @property
    def ready(self) -> bool:
        """Whether the reference is there."""
        return self._drift is not None

    @property
    def progress(self) -> str:
        """What the reference is, in a few words."""
        if self._drift is None:
            return f"collecting reference: {self._collected} of {self._rows} rows"
        since = datetime.fromtimestamp(self._since, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return f"reference: first {self._rows} rows since {since}"

    @property
    def filled(self) -> tuple[int, int]:
        """Rows in the current window, and how many complete it."""
        return self._drift.filled if self._drift else (0, self._window)

    def update(self, event: PredictionEvent) -> None:
        """Take in columns [n] by name: for the reference, and what is left for the windows."""
        if self._drift is None:
            taken = self._collect(event)
            if self._drift is None or taken == event.rows:
                return
            event = _from_row(event, taken)
        self._drift.update(event)

    def evaluate(self) -> list[Finding]:
        """Return the findings of the last windows; none while the reference is collected."""
        return self._drift.evaluate() if self._drift else []

    def state(self) -> dict[str, Any]:
        """Return the reference and the windows' position as JSON values; no rows."""
        if self._reference is None or self._drift is None:
            return {"rows": self._rows, "reference": None}
        return {
            "rows": self._rows,
            "reference": self._reference.to_dict(),
            "since": self._since,
            "drift": self._drift.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned.

        Raises:
            ValueError: the state is of another number of rows, or of another window.
        """
        if state["rows"] != self._rows:
            raise ValueError("the reference was collected from another number of rows")
        if state["reference"] is None:
            return
        reference = ReferenceProfile.from_dict(state["reference"])
        drift = self._compare_with(reference)
        drift.restore(state["drift"])
        self._reference, self._drift, self._since = reference, drift, float(state["since"])

    def _collect(self, event: PredictionEvent) -> int:
        """Take rows for the reference; returns how many of the event's first rows."""
        if not event.rows or (self._parts and event.inputs.keys() != self._parts[0].keys()):
            return event.rows
        if not self._collected:
            self._since = event.timestamp
        taken = min(event.rows, self._rows - self._collected)
        self._parts.append({name: array[:taken] for name, array in event.inputs.items()})
        self._collected += taken
        if self._collected == self._rows:
            columns = {
                name: np.concatenate([part[name] for part in self._parts])
                for name in self._parts[0]
            }
            self._parts = []
            self._reference = ReferenceProfile.fit(columns)
            self._drift = self._compare_with(self._reference)
        return taken

    def _compare_with(self, reference: ReferenceProfile) -> DriftMonitor:
        specs = every_column(reference)
        return DriftMonitor(reference, specs, self._window, self._rate, self._min_psi)


def _from_row(event: PredictionEvent, first: int) -> PredictionEvent:
    return replace(
        event,
        request_ids=event.request_ids[first:],
        row_index=event.row_index[first:],
        inputs={name: array[first:] for name, array in event.inputs.items()},
        outputs={name: array[first:] for name, array in event.outputs.items()},
        sensitive_features={
            name: array[first:] for name, array in event.sensitive_features.items()
        },
    )
