"""The extension point of this package: one small Protocol, batch-first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from monitors.events import PredictionEvent
from monitors.finding import Finding


class Monitor(Protocol):
    """A windowed judge of one model version. Not thread-safe; owned by one monitor role."""

    def update(self, event: PredictionEvent) -> None:
        """Take in a batch; the event's arrays are not written to and may be kept."""

    def evaluate(self) -> Sequence[Finding]:
        """Return the findings of the last complete window; empty before the first one."""

    @property
    def filled(self) -> tuple[int, int]:
        """Rows in the current window, and how many complete it."""

    def state(self) -> dict[str, Any]:
        """Return what is needed to go on after a restart, as JSON-serialisable values."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
