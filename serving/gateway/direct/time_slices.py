"""Turns of the event loop, shared among connections: nobody's bytes hold up everybody else.

A connection works on what it has received until the slice of the turn is over, keeps the rest, and
goes on in a later turn, so that the loop reads the replicas and the other connections in between.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report

SLICE_S: Final = 0.002
"""Seconds of a turn that connections get together, once for what comes in and once for the rest."""
QUANTUM_S: Final = SLICE_S / 2
"""Seconds that a waiting connection gets before the next one."""
SAMPLE: Final = 16
"""Units of work between two looks at the clock; a small frame or chunk is one: 1 or 2 us."""
CALL_UNITS: Final = 4
"""A request, however small."""
TASK_S: Final = 100e-6
"""What the app's task for a request takes at least; it runs between slices."""


class Worker(Protocol):
    """A connection that has received more than it has worked on.

    Attributes:
        queued: whether it waits for a slice; `TimeSlices` keeps it.
        greedy: whether it has used up a quantum of its own lately. It gets its turn after those
            that have not, and receives nothing out of turn.
    """

    queued: bool
    greedy: bool

    def work(self) -> bool:
        """Go on until nothing is left, or `TimeSlices.over`; True if nothing is left to do now."""

    def abort(self) -> None:
        """End the connection."""


class TimeSlices:
    """Hands out the turns of one loop. Two levels of round robin (Corbató 1962), newcomers first.

    What comes in is worked on at once while the slice of the turn lasts. Whoever has not finished
    by then, or comes later, waits with the newcomers and gets a quantum in the next turn. Whoever
    uses that up waits behind them, with a part of each turn for all of its kind together.

    Args:
        call_soon: the loop's.
        clock: tells seconds.

    Attributes:
        closed: whether what comes in now must wait (`queue`).
        spent: units of work since the last look at the clock; whoever works adds its own, and asks
            `over` once they are `SAMPLE`.
    """

    def __init__(
        self,
        call_soon: Callable[[Callable[[], None]], object],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._call_soon = call_soon
        self._clock = clock
        self._newcomers: deque[Worker] = deque()
        self._greedy: deque[Worker] = deque()
        self._until = 0.0
        """When the slice or quantum under way is over; 0 before the first look at the clock."""
        self._coming = False
        self._handing_out = False
        self.closed = False
        self.spent = 0

    def over(self) -> bool:
        """Look at the clock: whether whoever works must keep the rest for a later turn."""
        self.spent = 0
        now = self._clock()
        if not self._until:
            self._until = now + SLICE_S
            self._come()
            return False
        if now < self._until:
            return False
        if not self._handing_out:
            self.closed = True
        self.spent = SAMPLE  # over for whoever asks next as well
        return True

    def charge(self, seconds: float) -> None:
        """Count work that is caused now and done between slices, such as a task's."""
        self.over()
        self._until -= seconds

    def queue(self, worker: Worker) -> None:
        """Let a connection `work` in a later turn."""
        if worker.queued:
            return
        worker.queued = True
        if worker.greedy:
            self._greedy.append(worker)
        else:
            self._newcomers.append(worker)
            self.closed = True  # nobody gets ahead of those that wait
        self._come()

    def _come(self) -> None:
        if not self._coming:
            self._coming = True
            self._call_soon(self._turn)

    def _turn(self) -> None:
        """Begin a turn: let those work that wait, and open the slice for what comes in."""
        self._coming = False
        self._handing_out = True
        newcomers, greedy, clock = self._newcomers, self._greedy, self._clock
        if newcomers or greedy:
            begun = clock()
            for _ in range(len(newcomers)):
                worker = newcomers.popleft()
                if not self._run(worker):
                    worker.greedy = True
                    greedy.append(worker)
                if clock() - begun >= SLICE_S:
                    break
            until = max(begun + QUANTUM_S, clock())
            for _ in range(len(greedy)):
                worker = greedy.popleft()
                if not self._run(worker):
                    greedy.append(worker)
                if clock() >= until:
                    break
        self._handing_out = False
        self._until = 0.0
        self.spent = 0
        self.closed = bool(newcomers)
        if newcomers or greedy:
            self._come()

    def _run(self, worker: Worker) -> bool:
        """Give a connection a quantum; whether it waits no longer."""
        if not worker.queued:  # it has ended
            return True
        self._until = self._clock() + QUANTUM_S
        self.spent = 0
        try:
            if not worker.work():
                return False
        except Exception as error:  # noqa: BLE001 - the others go on all the same
            report(Event.INTERNAL_ERROR, "a connection could not go on", error=error)
            worker.abort()
        worker.queued = False
        return True
