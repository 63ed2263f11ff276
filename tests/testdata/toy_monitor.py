"""All that a new kind of monitor is: this file, and `DESCRIPTOR` in the list of monitors."""

from __future__ import annotations

from typing import Any

from monitors.finding import Finding
from monitors.monitor import Needs
from monitors.rows import Rows
from monitors.windows.tumbling_window import TumblingWindow
from serving.config import ModelConfig
from serving.models.repository.folder import ModelEntry
from serving.monitoring.judges.descriptor import Built, MonitorDescriptor

SILENT_S = 60.0


class ToyMonitor:
    """Counts windows, which nobody judges, and finds silence, which is no window of rows."""

    needs = Needs(outputs=True)

    def __init__(self) -> None:
        self._window = TumblingWindow(10)
        self._windows = 0
        self._last: float | None = None

    def update(self, rows: Rows, now: float) -> list[Finding]:
        closed: list[Finding] = []

        def close() -> None:
            self._windows += 1
            closed.append(self._finding("windows", self._windows, self._window.span))

        self._window.add(rows.n, rows.timestamp, lambda part: None, close)
        if rows.n:
            self._last = rows.timestamp
        return closed

    def tick(self, now: float) -> list[Finding]:
        if self._last is None or now - self._last < SILENT_S:
            return []
        span = (self._last, now)
        idle = now - self._last
        return [self._finding("idle_s", idle, span, threshold=SILENT_S, breached=True)]

    @property
    def filled(self) -> tuple[int, int]:
        return self._window.rows, self._window.size

    def state(self) -> dict[str, Any]:
        return {"window": self._window.state(), "windows": self._windows, "last": self._last}

    def restore(self, state: dict[str, Any]) -> list[Finding]:
        windows, last = state["windows"], state["last"]
        self._window.restore(state["window"])
        self._windows, self._last = windows, last
        return []

    def _finding(
        self, metric: str, value: float, span: tuple[float, float], **more: Any
    ) -> Finding:
        return Finding(
            monitor="toy",
            metric=metric,
            subject="",
            value=float(value),
            direction="above",
            n_reference=0,
            n_current=self._window.rows,
            window=span,
            window_id=self._window.ident,
            **more,
        )


def _wanted(config: ModelConfig) -> bool:
    return True


def _build(entry: ModelEntry) -> Built:
    return Built(ToyMonitor())


DESCRIPTOR = MonitorDescriptor(name="toy", wanted=_wanted, build=_build)
