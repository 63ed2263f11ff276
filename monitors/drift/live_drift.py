"""A reference of rows of the stream itself, for models that have no reference data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from monitors.drift.distribution import DistributionDriftMonitor
from monitors.finding import Finding
from monitors.monitor import Monitor, Needs, SaysWhatItWatches
from monitors.reference.profile import ReferenceProfile
from monitors.rows import Rows
from monitors.watched import Watched


class LiveDriftMonitor:
    """Fits a reference to rows of the stream and compares the rows that follow with it.

    Whatever was wrong in those rows already is what later ones are compared with. They are only
    held in memory until there are enough: a profile keeps counts, and no row is saved with it, so
    collecting begins anew after a restart. A batch whose columns are not those of the first one
    (an input without a fixed shape) is left out of the reference.

    Args:
        rows: to collect.
        compare: makes the monitor that compares with a reference.
        values: what of rows is watched, by column name.
        needs: what must be in the rows for that.
        window: rows of its windows, told while there is no such monitor.
        renewed: whether every so many rows become the reference of those that follow: each period
            is compared with the previous one. What has drifted and stayed so is normal then.
    """

    def __init__(
        self,
        rows: int,
        compare: Callable[[ReferenceProfile], Monitor],
        *,
        values: Callable[[Rows], Mapping[str, np.ndarray]] = lambda rows: rows.columns,
        needs: Needs = DistributionDriftMonitor.inputs,
        window: int = 1000,
        renewed: bool = False,
    ) -> None:
        self.needs = needs
        self._rows, self._window, self._renewed = rows, window, renewed
        self._compare, self._values = compare, values
        self.reset()

    def reset(self) -> None:
        """Forget the reference and what was found with it; collect a new one."""
        self._begin()
        self._reference: ReferenceProfile | None = None
        self._drift: Monitor | None = None
        self._since = 0.0

    def _begin(self) -> None:
        self._parts: list[Mapping[str, np.ndarray]] = []
        self._times: list[np.ndarray] = []
        self._collected = 0

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
        which = "previous" if self._renewed else "first"
        return f"reference: {which} {self._rows} rows since {since}"

    @property
    def filled(self) -> tuple[int, int]:
        """Rows in the current window, and how many complete it."""
        return self._drift.filled if self._drift else (0, self._window)

    def update(self, rows: Rows, now: float) -> list[Finding]:
        """Take in rows: for the reference, and what follows it for the windows."""
        found: list[Finding] = []
        start = 0
        while start < rows.n:
            taken = rows.n - start
            if self._drift is None or self._renewed:
                taken = min(taken, self._rows - self._collected)
            part = rows.part(slice(start, start + taken))
            if self._drift is not None:
                found += self._drift.update(part, now)
            if self._drift is None or self._renewed:
                self._collect(part)
            start += taken
        return found

    def tick(self, now: float) -> list[Finding]:
        """Return nothing: windows end with rows."""
        return []

    def watched(self, now: float) -> Watched:
        """Return what the monitor watches that compares; nothing before there is one."""
        if isinstance(self._drift, SaysWhatItWatches):
            return replace(self._drift.watched(now), reference=self.progress)
        return Watched(
            items=(),
            reference=self.progress,
            window=self._window,
            not_watched=("nothing yet: the reference is being collected",),
        )

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

        Of a monitor that judged by a test per window the reference is taken, and nothing else.

        Raises:
            ValueError: the state is of another number of rows, or of another window.
        """
        if state["rows"] != self._rows:
            raise ValueError("the reference was collected from another number of rows")
        if state["reference"] is None:
            return []
        reference = ReferenceProfile.from_dict(state["reference"])
        drift = self._compare(reference)
        since = float(state["since"])
        by_window_tests = "counts" in state["drift"]
        found = [] if by_window_tests else list(drift.restore(state["drift"]))
        self._reference, self._drift, self._since = reference, drift, since
        return found

    def _collect(self, rows: Rows) -> None:
        """Take rows for the reference; they are not more than it lacks."""
        columns = self._values(rows)
        if not columns or (self._parts and columns.keys() != self._parts[0].keys()):
            return
        self._parts.append(columns)
        self._times.append(np.full(rows.n, rows.timestamp))
        self._collected += rows.n
        if self._collected < self._rows:
            return
        columns = {
            name: np.concatenate([part[name] for part in self._parts]) for name in self._parts[0]
        }
        times = np.concatenate(self._times)
        self._begin()
        self._since = float(times.min())
        self._reference = ReferenceProfile.fit(columns, times=times)
        self._drift = self._compare(self._reference)
