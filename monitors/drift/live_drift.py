"""Drift against the first rows of the stream itself, for models that have no reference data."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

import numpy as np

from monitors.drift.column_drift import DriftMonitor, every_column
from monitors.finding import Finding
from monitors.monitor import Needs
from monitors.reference.profile import ReferenceProfile
from monitors.rows import Rows


class LiveDriftMonitor:
    """Fits a reference to the first rows and then is a `DriftMonitor` of the rows that follow.

    Whatever was wrong in those rows already is what later ones are compared with. They are only
    held in memory until there are enough: a profile keeps counts, and no row is saved with it, so
    collecting begins anew after a restart. A batch whose columns are not those of the first one
    (an input without a fixed shape) is left out of the reference.

    Args:
        rows: to collect.
        window: rows per tumbling window.
        false_alarm_rate: see `DriftMonitor`.
        min_psi: see `DriftMonitor`.
    """

    needs: ClassVar[Needs] = Needs(columns=True)

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
        """What the reference is, or how far it is collected, in a few words."""
        if self._drift is None:
            return f"collecting reference: {self._collected} of {self._rows} rows"
        since = datetime.fromtimestamp(self._since, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return f"reference: first {self._rows} rows since {since}"

    @property
    def filled(self) -> tuple[int, int]:
        """Rows in the current window, and how many complete it."""
        return self._drift.filled if self._drift else (0, self._window)

    def update(self, rows: Rows, now: float) -> list[Finding]:
        """Take in columns [n] by name: for the reference, and what is left for the windows."""
        if self._drift is None:
            taken = self._collect(rows)
            if self._drift is None or taken == rows.n:
                return []
            rows = rows.part(slice(taken, None))
        return self._drift.update(rows, now)

    def tick(self, now: float) -> list[Finding]:
        """Return nothing: windows are counted in rows."""
        return []

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

    def restore(self, state: dict[str, Any]) -> list[Finding]:
        """Go on from what `state` returned.

        Raises:
            ValueError: the state is of another number of rows, or of another window.
        """
        if state["rows"] != self._rows:
            raise ValueError("the reference was collected from another number of rows")
        if state["reference"] is None:
            return []
        reference = ReferenceProfile.from_dict(state["reference"])
        drift = self._compare_with(reference)
        found, since = drift.restore(state["drift"]), float(state["since"])
        self._reference, self._drift, self._since = reference, drift, since
        return found

    def _collect(self, rows: Rows) -> int:
        """Take rows for the reference; returns how many of the first ones."""
        if not rows.n or (self._parts and rows.columns.keys() != self._parts[0].keys()):
            return rows.n
        if not self._collected:
            self._since = rows.timestamp
        taken = min(rows.n, self._rows - self._collected)
        self._parts.append({name: array[:taken] for name, array in rows.columns.items()})
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
