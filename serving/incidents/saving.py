"""Changes on their way to the store, which may be slow, locked, full, damaged or away.

Memory is what counts while the instance runs. What has changed waits here, each thing once, until
the store takes it; that it does not is counted, told and tried again, and disturbs nobody.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol, TypeVar

from serving.channel.messages.incidents import Incident, State
from serving.store.failures import StoreFailed
from serving.store.records import Batch, Delivery, Deployment, Kept, WatchState
from serving.telemetry.counters import SeriesSet
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report
from serving.telemetry.metrics.incidents import INCIDENT_STORE_FAILURES, INCIDENT_STORE_WAITING

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 60.0
ANSWER_S: Final = 3.0
"""What a client waits for the store."""
MOST_ASKED: Final = 16
"""Questions that wait for the store; beyond it clients are not kept waiting."""
MOST_WAITING: Final = 20_000
"""Incidents that are over and wait for the store, and messages that are to be deleted from it;
beyond it the oldest are lost, and counted."""

T = TypeVar("T")


class Store(Protocol):
    """What keeps it; see `serving.store.incident_store.IncidentStore`."""

    def load(self, since: float) -> Kept:
        """Return all that a start goes on from."""

    def save(self, batch: Batch) -> None:
        """Save all of a batch, or nothing."""

    def find(self, ident: str) -> Incident | None:
        """Return an incident; None where there is none."""

    def closed(self, states: Sequence[State], model: str, limit: int) -> tuple[Incident, ...]:
        """Return incidents that are over, the newest first."""

    def forget_closed(self, before: float) -> int:
        """Delete what was over before a time."""

    def set_aside(self) -> str | None:
        """Put a damaged file aside; returns its new path."""

    def close(self) -> None:
        """Let go of it."""


class Saving:
    """The way to the store, in a thread of its own. All methods belong to the loop.

    Args:
        make_store: makes the store, in the thread: it imports what takes long.
        everything: returns all that is in memory, for a store that begins anew.
        series: where failures are counted.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        make_store: Callable[[], Store],
        everything: Callable[[], Batch],
        series: SeriesSet,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make_store = make_store
        self._everything = everything
        self._series = series
        self._clock = clock
        self._waiting_series = series.gauge(INCIDENT_STORE_WAITING)
        self._thread = ThreadPoolExecutor(1, "incident-store")
        self._store: Store | None = None
        self._pending = Batch()
        self._saving = Batch()
        self._pause_s = FIRST_PAUSE_S
        self._retry_at = 0.0
        self._problem = ""
        self._asked = 0
        self._ended = False
        self.loaded = False

    # -- what has changed ---------------------------------------------------------------

    def incident(self, incident: Incident) -> None:
        """Have an incident saved as it is now."""
        self._pending.incidents.pop(incident.id, None)
        self._pending.incidents[incident.id] = incident
        if len(self._pending.incidents) > MOST_WAITING:
            over = (each.id for each in self._pending.incidents.values() if not each.active)
            if (oldest := next(over, None)) is not None:
                del self._pending.incidents[oldest]
                self._count("overflow")

    def delivery(self, ident: str, delivery: Delivery | None) -> None:
        """Have a delivery saved as it is now; None: it is done with."""
        waiting = self._pending.deliveries
        waiting[ident] = delivery
        if delivery is None and len(waiting) > MOST_WAITING:
            # After a restart the receiver is told of it twice.
            del waiting[next(each for each, kept in waiting.items() if kept is None)]
            self._count("overflow")

    def state(self, key: tuple[str, str], state: WatchState | None) -> None:
        """Have a state saved; None: it is gone."""
        self._pending.states[key] = state

    def deployment(self, served: Deployment) -> None:
        """Have a deployment saved."""
        self._pending.deployments[served.model, served.version, served.revision] = served

    @property
    def problem(self) -> str:
        """Why the store does not take what has changed, in a sentence; empty: it does."""
        return self._problem

    def holds(self, delivery: str) -> bool:
        """Whether a delivery is not in the store yet, and will be in a moment."""
        waits = delivery in self._pending.deliveries or delivery in self._saving.deliveries
        return waits and not self._problem

    @property
    def idle(self) -> bool:
        """Whether all is saved."""
        return not self._pending and not self._saving

    # -- the store ----------------------------------------------------------------------

    async def load(self, since: float) -> Kept | None:
        """Return what was kept; None where that cannot be read now. Tried no sooner than it may."""
        if self._clock() < self._retry_at:
            return None
        try:
            kept = await self._run(lambda store: store.load(since))
        except StoreFailed as error:
            await self._failed(error)
            return None
        self._worked()
        self.loaded = True
        return kept

    async def flush(self) -> None:
        """Save what has changed, if the store was loaded and may be tried."""
        self._waiting_series.set(len(self._pending) + len(self._saving))
        if not self.loaded or not self._pending or self._saving or self._clock() < self._retry_at:
            return
        self._saving, self._pending = self._pending, Batch()
        batch = self._saving
        try:
            await self._run(lambda store: store.save(batch))
            self._worked()
        except StoreFailed as error:
            self._pending = batch.under(self._pending)
            await self._failed(error)
        except BaseException:  # it is ended; the successor's first batch has it
            self._pending = batch.under(self._pending)
            raise
        finally:
            self._saving = Batch()
            self._waiting_series.set(len(self._pending))

    async def ask(self, question: Callable[[Store], T]) -> T | None:
        """Return what the store answers; None where it does not, or not in time."""
        if not self.loaded:
            return None
        if self._asked >= MOST_ASKED:
            self._count("slow")
            return None
        try:
            async with asyncio.timeout(ANSWER_S):
                return await self._run(question, asked=True)
        except StoreFailed as error:
            self._count(error.reason)
        except TimeoutError:
            self._count("slow")
        return None

    async def close(self, timeout_s: float) -> None:
        """Save once more, and let go of the store; bounded."""
        if self._ended:
            return
        self._ended = True
        try:
            async with asyncio.timeout(timeout_s):
                self._retry_at = 0.0
                await self.flush()  # after what the thread has begun
                if self._store is not None:
                    await self._run(lambda store: store.close())
        except (TimeoutError, StoreFailed):
            report(Event.STATE_NOT_SAVED, "the latest changes of incidents could not be saved")
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: Callable[[Store], T], *, asked: bool = False) -> T:
        """Have the thread do something; whatever goes wrong there is a `StoreFailed`."""

        def in_thread() -> T:
            if self._store is None:
                self._store = self._make_store()
            return work(self._store)

        try:
            begun = asyncio.get_running_loop().run_in_executor(self._thread, in_thread)
            if asked:
                # A question waits for the thread although its client has given up.
                self._asked += 1
                begun.add_done_callback(self._answered)
            # A client that goes away must not end what the thread has begun.
            return await asyncio.shield(begun)
        except StoreFailed:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
            report(Event.INTERNAL_ERROR, "the store of incidents has failed", error=error)
            raise StoreFailed("refused") from None

    def _answered(self, _: object) -> None:
        self._asked -= 1

    def _worked(self) -> None:
        if self._problem:
            report(Event.STORE_BACK, "the store of incidents takes changes again")
        self._problem, self._pause_s, self._retry_at = "", FIRST_PAUSE_S, 0.0

    async def _failed(self, error: StoreFailed) -> None:
        self._count(error.reason)
        if error.reason == "damaged" and await self._began_anew():
            return
        self._retry_at = self._clock() + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        said = f"the store of incidents does not work, and is tried again: {error}"
        if said != self._problem:
            report(Event.STATE_NOT_SAVED, said)
        self._problem = said

    async def _began_anew(self) -> bool:
        """Put a damaged file aside and write all that is known into a new one."""
        try:
            kept = await self._run(lambda store: store.set_aside())
        except StoreFailed:
            return False
        if kept is None:
            return False
        said = f"the store of incidents is damaged; it is kept as {kept}, and a new one begins"
        report(Event.STATE_UNREADABLE, said, file=kept)
        self._pending = self._everything().under(self._pending)
        return True

    def _count(self, reason: str) -> None:
        self._series.sum(INCIDENT_STORE_FAILURES, reason=reason).add(1)
