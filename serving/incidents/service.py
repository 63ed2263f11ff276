"""The incidents of one instance while it runs: fed with findings, asked by people, kept in a store.

It lives in the control plane, the one process that hears all monitors. Everything that is decided
is decided in memory, in the loop; the store and receivers are spoken to beside it.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from serving.channel.messages.causes import Cause
from serving.channel.messages.findings import FindingsChanged
from serving.channel.messages.incidents import (
    ACTIVE,
    SEVERITIES,
    STATES,
    Incident,
    IncidentList,
    IncidentOrder,
    IncidentQuery,
)
from serving.config import Webhook
from serving.errors import ModelNotReady
from serving.incidents.book import Book, not_there
from serving.incidents.deployments import Deployments, Served
from serving.incidents.false_alarms import REMEMBERED_S, FalseAlarms
from serving.incidents.ladder import rank
from serving.incidents.saving import Saving, Store
from serving.incidents.unknowns import Unknowns
from serving.incidents.verdicts import Verdicts
from serving.incidents.wanted_causes import Wanted, WantedCauses
from serving.incidents.webhooks.sender import sender_of
from serving.store.records import Batch, Happened
from serving.telemetry.counters import SeriesSet
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report
from serving.telemetry.metrics.incidents import INCIDENTS_OPEN, INCIDENTS_OPENED

TICK_S: Final = 1.0
LOAD_WAIT_S: Final = 30.0
"""How long a start waits for the store before it goes on without what was kept."""
STOP_S: Final = 3.0
KEPT_S: Final = 400 * 86_400.0
"""How long incidents that are over are kept."""
FORGET_S: Final = 86_400.0
MOST_PASSED: Final = 10_000
"""Breaches of earlier windows that a start holds for each monitor until the store is read."""


class IncidentService:
    """Opens, tells, keeps and closes incidents. All methods belong to the loop.

    Args:
        make_store: makes the store; called in a thread.
        webhooks: who is told.
        series: where its metrics are kept.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        make_store: Callable[[], Store],
        webhooks: Sequence[Webhook],
        series: SeriesSet,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._series = series
        self._clock = clock
        self._saving = Saving(make_store, self._everything, series)
        self._deployments = Deployments()
        self._false_alarms = FalseAlarms(
            lambda model: self._deployments.rules(model).false_alarm_budget, clock
        )
        self._book = Book(self._deployments, self._false_alarms, self._told, clock)
        self._wanted = WantedCauses(clock)
        self._unknowns = Unknowns(self._book, self._deployments, self._saving.state, clock)
        self._verdicts = Verdicts(self._book, self._deployments, self._unknowns)
        self._receivers = [
            sender_of(
                each, self._saving.delivery, self._saving.holds, self._book.active, series, clock
            )
            for each in webhooks
        ]
        self._shown: set[str] = set()
        self._latest: dict[str, FindingsChanged] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._begun: float | None = None
        self._ready = False
        self._forgot = 0.0

    # -- life ---------------------------------------------------------------------------

    def start(self) -> None:
        """Begin; needs a running loop."""
        create = asyncio.get_running_loop().create_task
        self._begun = self._clock()
        self._tasks = [create(self._run()), create(self._save())]
        self._tasks += [create(sender.run()) for _, sender in self._receivers]

    async def stop(self) -> None:
        """Save once more, and end; bounded to a few seconds."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._tasks:
            await self._saving.close(STOP_S)
        self._tasks = []

    async def _run(self) -> None:
        while True:
            try:
                self.tick()
            except Exception as error:  # noqa: BLE001 - the next look may be well
                report(Event.INTERNAL_ERROR, "incidents could not be looked after", error=error)
            await asyncio.sleep(TICK_S)

    async def _save(self) -> None:
        while True:
            try:
                if self._saving.loaded:
                    await self._saving.flush()
                    await self._forget_old()
                else:
                    await self._load()
            except Exception as error:  # noqa: BLE001 - the next time may be well
                report(Event.INTERNAL_ERROR, "incidents could not be saved", error=error)
            await asyncio.sleep(0.1)

    async def _load(self) -> None:
        now = self._clock()
        kept = await self._saving.load(now - REMEMBERED_S)
        if kept is None:
            return
        for served in self._deployments.restore(kept.deployments):
            self._saving.deployment(served)
        self._false_alarms.restore(kept.closed)
        self._book.restore(kept)
        self._unknowns.restore(kept.states)
        for outbox, _ in self._receivers:
            mine = [each for each in kept.deliveries if each.receiver == outbox.webhook.name]
            outbox.restore(mine)
        names = {outbox.webhook.name for outbox, _ in self._receivers}
        for each in kept.deliveries:
            if each.receiver not in names:  # the configuration has it no more
                self._saving.delivery(each.id, None)
        self._goes_on()

    async def _forget_old(self) -> None:
        now = self._clock()
        if abs(now - self._forgot) >= FORGET_S:
            self._forgot = now
            await self._saving.ask(lambda store: store.forget_closed(now - KEPT_S))

    def _goes_on(self) -> None:
        """Judge what monitors have told meanwhile."""
        if not self._ready:
            self._ready = True
            for told in self._latest.values():
                self._verdicts.judge(told)
            self._latest.clear()
        self._show()

    def _everything(self) -> Batch:
        """Return what a store that begins anew must have."""
        active = {each.id: each for each in self._book.active()}
        waiting = {each.id: each for outbox, _ in self._receivers for each in outbox.waiting()}
        return Batch(active, dict(waiting), self._unknowns.kept(), self._deployments.kept())

    # -- what happens -------------------------------------------------------------------

    def follow(self, served: Iterable[Served]) -> None:
        """Take in which versions should answer now."""
        now = self._clock()
        for fresh in self._deployments.follow(served, now):
            self._saving.deployment(fresh)

    def told(self, monitor: str, changed: FindingsChanged) -> None:
        """Take in all that a monitor knows of its models."""
        if self._ready:
            self._verdicts.judge(changed)
            self._show()
        else:
            before = self._latest.get(monitor, FindingsChanged(()))
            passed = (*before.passed, *changed.passed)[-MOST_PASSED:]
            self._latest[monitor] = replace(changed, passed=passed)

    def away(self, monitors: Mapping[str, str]) -> None:
        """Take in which monitors are not there, and why, in a few words."""
        if self._ready:
            self._unknowns.away(monitors)

    def tick(self) -> None:
        """Do what is due by the time."""
        if not self._ready:
            begun = self._clock() if self._begun is None else self._begun
            if self._clock() - begun >= LOAD_WAIT_S:
                self._goes_on()
            return
        self._verdicts.tick()
        self._show()

    # -- causes -------------------------------------------------------------------------

    def wanted_cause(self) -> Wanted | None:
        """Return the cause of an incident that is to be looked for now; None: there is none."""
        return self._wanted.next(self._book.active()) if self._ready else None

    def explained(self, wanted: Wanted, cause: Cause) -> None:
        """Take in what was found, or why nothing was; it is tried again later then."""
        if not cause.known:
            self._wanted.tried(wanted)
        self._book.explain(wanted.ident, replace(cause, about=wanted.about, at=self._clock()))

    def _told(self, incident: Incident, event: Happened | None) -> None:
        """Save an incident that has changed, and tell receivers what has happened."""
        self._saving.incident(incident)
        if event is None:
            return
        if event in ("opened", "reopened", "escalated"):
            if event != "escalated":
                self._series.sum(
                    INCIDENTS_OPENED, model=incident.model, severity=incident.severity
                ).add(1)
            _log(Event.INCIDENT_OPENED, incident, f"incident {event}: {incident.summary}")
        elif not incident.active:
            _log(Event.INCIDENT_CLOSED, incident, f"incident {incident.id} is over")
        for outbox, _ in self._receivers:
            outbox.offer(event, incident)

    def _show(self) -> None:
        """Bring the metrics up to date; a served model without incidents has zeros."""
        counts = Counter((each.model, each.severity) for each in self._book.active())
        models = {*self._deployments.models, *(model for model, _ in counts)}
        for model in models:
            for severity in SEVERITIES:
                gauge = self._series.gauge(INCIDENTS_OPEN, model=model, severity=severity)
                gauge.set(counts[model, severity])
        for gone in self._shown - models:
            for severity in SEVERITIES:
                self._series.drop(self._series.gauge(INCIDENTS_OPEN, model=gone, severity=severity))
        self._shown = models

    # -- what it is asked ---------------------------------------------------------------

    async def listed(self, query: IncidentQuery) -> IncidentList:
        """Return the incidents that are wanted, and what else people must know."""
        states = query.states or STATES
        found = {
            each.id: each
            for each in self._book.active()
            if each.state in states and query.model in ("", each.model)
        }
        over = tuple(state for state in states if state not in ACTIVE)
        notes = self.notes()
        if over:
            kept = await self._saving.ask(
                lambda store: store.closed(over, query.model, query.limit)
            )
            if kept is None:
                notes.append("the store cannot be read now: incidents that are over are lacking")
            wanted = [*(kept or ()), *self._book.over()]  # these are newer than the store
            found |= {
                each.id: each
                for each in wanted
                if each.state in over and query.model in ("", each.model)
            }
        ordered = sorted(
            found.values(),
            key=lambda each: (not each.active, -rank(each.severity) * each.active, -each.opened_at),
        )
        return IncidentList(
            incidents=tuple(ordered[: query.limit]),
            unknown=tuple(
                each for each in self._unknowns.listed() if query.model in ("", each.model)
            ),
            demoted=tuple(
                each for each in self._false_alarms.demoted() if query.model in ("", each.model)
            ),
            notes=tuple(notes),
        )

    def notes(self) -> list[str]:
        """Return what is wrong with the store and with receivers, one sentence each."""
        problems = [self._saving.problem, *(sender.problem for _, sender in self._receivers)]
        return [each for each in problems if each]

    async def incident(self, order: IncidentOrder) -> Incident:
        """Return an incident, after what is to be done with it.

        Raises:
            NotFound: there is no such incident.
            ModelNotReady: only the store may know it, and does not answer.
            InvalidInput: that cannot be done with it.
        """
        found = self._book.find(order.id)
        if found is None:
            # A tuple, for what it answers where there is none is None as well.
            answer = await self._saving.ask(lambda store: (store.find(order.id),))
            if answer is None:
                raise ModelNotReady("the store of incidents does not answer; try again later")
            found = answer[0]
        if found is None:
            raise not_there(order.id)
        if order.action is None:
            return found
        done = self._book.act(found, order.action, order.note)
        self._show()
        await self._saved()
        return done

    async def _saved(self) -> None:
        """Wait until what was done would outlive this process, for as long as clients wait."""
        for _ in range(20):
            if self._saving.idle or self._saving.problem:
                return
            await asyncio.sleep(0.05)


def _log(event: Event, incident: Incident, said: str) -> None:
    report(
        event,
        said,
        model=incident.model,
        version=incident.version,
        incident=incident.id,
        severity=incident.severity,
    )
