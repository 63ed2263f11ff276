"""All incidents that matter now, in memory: findings and people change them, here and only here."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from msgspec.structs import replace

from serving.channel.messages.causes import Cause
from serving.channel.messages.findings import FindingRecord
from serving.channel.messages.incidents import (
    Action,
    Evidence,
    Happening,
    Incident,
    Measured,
    Severity,
)
from serving.errors import NotFound, printable
from serving.incidents import lifecycle, sentences
from serving.incidents.causes import Key
from serving.incidents.deployments import Deployments
from serving.incidents.evidence import evidence_of, since, window_end
from serving.incidents.false_alarms import FalseAlarms
from serving.incidents.ladder import lowered, rank, severity_of
from serving.store.records import Happened, Kept

COMES_BACK_S: Final = 3600.0
"""What breaches again so soon after it was over is the same incident."""
CLOCK_SET_S: Final = 3600.0
"""A window that is so much older than one that was seen is no repetition: a clock was set."""
_LETTERS: Final = "abcdefghjkmnpqrstuvwxyz23456789"
"""Without those that look like others."""

Told = Callable[[Incident, Happened | None], None]


def new_id() -> str:
    """Return an id that people can type; one in 8 · 10¹¹."""
    return "".join(random.SystemRandom().choices(_LETTERS, k=8))


class Context(NamedTuple):
    """What else is so for a model.

    Attributes:
        harmed: whether it does worse than it should.
        broken: whether its data is broken, which explains drift.
    """

    harmed: bool = False
    broken: bool = False


class Book:
    """The incidents of one instance.

    Args:
        deployments: what is served, and since when.
        false_alarms: which rules are believed less.
        told: called with each incident that has changed, and with what receivers are to hear of it.
        clock: seconds since the epoch.
        ident: makes ids.
    """

    def __init__(
        self,
        deployments: Deployments,
        false_alarms: FalseAlarms,
        told: Told,
        clock: Callable[[], float],
        ident: Callable[[], str] = new_id,
    ) -> None:
        self._deployments = deployments
        self._false_alarms = false_alarms
        self._told = told
        self._clock = clock
        self._ident = ident
        self._active: dict[Key, Incident] = {}
        self._last: dict[Key, Incident] = {}

    def restore(self, kept: Kept) -> None:
        """Take in what was there before the start; what was opened meanwhile goes on as that."""
        self._last |= {Key(*each.key): each for each in kept.last if each.key not in self._last}
        for before in kept.active:
            key = Key(*before.key)
            now = self._active.get(key)
            self._active[key] = before
            if now is not None:
                joined = lifecycle.breached_again(
                    before, now.evidence, now.seen, now.updated_at, now.summary, now.advice
                )
                self._put(joined)
                same = lifecycle.closed(now, self._clock(), f"it is the same as {before.id}")
                self._told(same, "resolved")

    # -- findings -----------------------------------------------------------------------

    def judge(self, key: Key, findings: Sequence[FindingRecord], context: Context) -> None:
        """Take in all findings of one cause as they are now.

        Args:
            key: model and cause.
            findings: at least one.
            context: what else is so for the model.
        """
        if breached := [each for each in findings if each.breached]:
            self._breach(key, breached, context)
        elif incident := self._active.get(key):
            self._calm(incident, findings)
        elif (over := self._last.get(key)) and not over.settled:
            self._settle(over, findings)

    def _breach(self, key: Key, breached: Sequence[FindingRecord], context: Context) -> None:
        now = self._clock()
        seen = max(map(window_end, breached))
        severity = severity_of(breached, context.harmed)
        if incident := self._active.get(key):
            self._worsen(incident, breached, severity, seen)
            return
        over = self._last.get(key)
        if over is not None:
            if _is_repetition(over, seen):
                return
            if not over.settled and not self._is_news(over, severity, now):
                self._last[key] = replace(over, seen=seen, quiet_windows=0, quiet_mark="")
                return
        if severity == "info" and self._held_back(key.model, breached, context, now):
            return
        if (over is not None and now - (over.closed_at or 0.0) < COMES_BACK_S) or (
            over is not None and not over.settled
        ):
            self._reopen(over, breached, severity, seen)
        else:
            self._open(key, breached, severity, seen)

    def _held_back(
        self, model: str, breached: Sequence[FindingRecord], context: Context, now: float
    ) -> bool:
        versions = {each.version for each in breached}
        warm = all(self._deployments.warms_up(model, each, now) for each in versions)
        return warm or context.broken

    def _is_news(self, over: Incident, severity: Severity, now: float) -> bool:
        """Whether what somebody has closed, and has breached ever since, must be told again."""
        if rank(severity) > rank(over.demoted_from or over.severity):
            return True
        return over.state == "resolved" and now - (over.closed_at or 0.0) >= COMES_BACK_S

    def _evidence(self, model: str, breached: Sequence[FindingRecord]) -> Evidence:
        now = self._clock()
        begun = min(since(each, now) for each in breached)
        return evidence_of(breached, now, self._deployments.last(model, begun))

    def _open(
        self, key: Key, breached: Sequence[FindingRecord], severity: Severity, seen: float
    ) -> None:
        evidence = self._evidence(key.model, breached)
        monitor = breached[0].monitor
        self.open(key, monitor, evidence, severity, seen)

    def open(
        self,
        key: Key,
        monitor: str,
        evidence: Evidence,
        severity: Severity,
        seen: float = 0.0,
        said: tuple[str, str] | None = None,
    ) -> None:
        """Open an incident.

        Args:
            key: model and cause.
            monitor: what has found it.
            evidence: what it stands on.
            severity: without regard to false alarms of its rule.
            seen: end of the latest window.
            said: summary and advice; None: as the evidence says.
        """
        now = self._clock()
        metric = evidence.leading.metric
        steps = self._false_alarms.steps((key.model, monitor, metric))
        less = lowered(severity, steps)
        summary, advice = said or _said(key.model, monitor, evidence)
        incident = Incident(
            id=self._ident(),
            model=key.model,
            version=evidence.leading.version,
            cause=key.cause,
            monitor=monitor,
            metric=metric,
            severity=less,
            demoted_from=severity if less != severity else "",
            state="open",
            opened_at=now,
            updated_at=now,
            summary=summary,
            advice=advice,
            first=evidence,
            evidence=evidence,
            seen=seen,
            history=(Happening(now, "opened", summary),),
        )
        self._put(incident, "opened")

    def open_once(self, key: Key, monitor: str, evidence: Evidence, said: tuple[str, str]) -> None:
        """Open a ticket, unless somebody has closed one about the same time since when it is so."""
        over = self._last.get(key)
        if over is None or over.evidence.since != evidence.since:
            self.open(key, monitor, evidence, "ticket", said=said)

    def _worsen(
        self,
        incident: Incident,
        breached: Sequence[FindingRecord],
        severity: Severity,
        seen: float,
    ) -> None:
        if incident.quiet_windows and _is_repetition(incident, seen):
            return
        evidence = self._evidence(incident.model, breached)
        less = lowered(severity, self._false_alarms.steps(incident.rule))
        same = _of(incident.evidence) == _of(evidence) and incident.quiet_windows == 0
        if same and rank(less) <= rank(incident.severity):
            return
        now = self._clock()
        said = _said(incident.model, incident.monitor, evidence)
        known = {each.subject for each in (*incident.evidence.top, incident.evidence.leading)}
        again = lifecycle.breached_again(incident, evidence, seen, now, *said)
        fresh = [each for each in breached if each.subject not in known]
        if fresh and evidence.breached > incident.evidence.breached:
            again = lifecycle.happened(again, now, "spread", f"to {sentences.names(fresh)}")
        worse = lifecycle.raised(again, less, severity if less != severity else "", now)
        self._put(worse, "escalated" if worse.severity != incident.severity else None)

    def _reopen(
        self,
        over: Incident,
        breached: Sequence[FindingRecord],
        severity: Severity,
        seen: float,
    ) -> None:
        now = self._clock()
        evidence = self._evidence(over.model, breached)
        back = lifecycle.reopened(over, now, "it has breached again")
        back = lifecycle.breached_again(
            back, evidence, seen, now, *_said(over.model, over.monitor, evidence)
        )
        less = lowered(severity, self._false_alarms.steps(over.rule))
        back = lifecycle.raised(back, less, severity if less != severity else "", now)
        self._false_alarms.reopened(back)
        self._put(back, "reopened")

    def _calm(self, incident: Incident, findings: Sequence[FindingRecord]) -> None:
        calmer = lifecycle.quiet(incident, findings, self._clock())
        if calmer is not incident:
            self._put(calmer)
            self._close_if_over(calmer)

    def _settle(self, over: Incident, findings: Sequence[FindingRecord]) -> None:
        calmer = lifecycle.quiet(over, findings, self._clock())
        if calmer is not over:
            enough = calmer.quiet_windows >= self._deployments.rules(over.model).quiet_windows
            self._put(replace(calmer, settled=enough))

    def tick(self) -> None:
        """Close what has been quiet for long enough, and what nobody serves any more."""
        for incident in list(self._active.values()):
            self._close_if_over(incident)

    def _close_if_over(self, incident: Incident) -> None:
        now = self._clock()
        if lifecycle.is_over(incident, self._deployments.rules(incident.model), now):
            note = f"by itself: {incident.quiet_windows} windows without a breach"
            self.close(incident, note)

    def close(self, incident: Incident, note: str) -> None:
        """Close an incident that is over by itself."""
        over = lifecycle.closed(incident, self._clock(), note)
        self._false_alarms.closed(over)
        self._put(over, "resolved")

    def forget_unserved(self, models: Collection[str]) -> None:
        """Close the incidents of models that are not served any more."""
        for incident in list(self._active.values()):
            if incident.model and incident.model not in models:
                self.close(incident, "by itself: the model is not served any more")

    # -- people -------------------------------------------------------------------------

    def act(self, incident: Incident, action: Action, note: str) -> Incident:
        """Do with an incident what somebody wants; returns it as it is then.

        Raises:
            InvalidInput: that cannot be done with it.
        """
        done = lifecycle.acted(incident, action, printable(note), self._clock())
        if done is incident:
            return incident
        if not done.active:
            self._false_alarms.closed(done)
        self._put(done, _AS_TOLD[action])
        return done

    def explain(self, ident: str, cause: Cause) -> None:
        """Attach to an incident what its rows tell of the cause; nothing if it is over by now."""
        incident = next((each for each in self._active.values() if each.id == ident), None)
        if incident is None:
            return
        before = incident.evidence.cause
        if before is not None and before.known and not cause.known:
            return  # what was found once stays said
        same = before is not None and before.summary == cause.summary
        event: Happened | None = "explained" if cause.known and not same else None
        self._put(lifecycle.explained(incident, cause, news=event is not None), event)

    # -- what it knows ------------------------------------------------------------------

    def active(self) -> Iterable[Incident]:
        """Return the incidents that are not over."""
        return self._active.values()

    def over(self) -> Iterable[Incident]:
        """Return of each model and cause the incident that was over last."""
        return self._last.values()

    def at(self, key: Key) -> Incident | None:
        """Return the incident of a model and cause that is not over; None where there is none."""
        return self._active.get(key)

    def find(self, ident: str) -> Incident | None:
        """Return an incident that is known here; older ones are in the store alone."""
        known = (*self._active.values(), *self._last.values())
        return next((each for each in known if each.id == ident), None)

    def _put(self, incident: Incident, event: Happened | None = None) -> None:
        key = Key(*incident.key)
        if incident.active:
            self._active[key] = incident
        else:
            before = self._active.get(key)
            if before is not None and before.id == incident.id:
                del self._active[key]
            last = self._last.get(key)
            if last is None or (incident.closed_at or 0.0) >= (last.closed_at or 0.0):
                self._last[key] = incident
        self._told(incident, event)


_AS_TOLD: Final[Mapping[Action, Happened]] = {
    "acknowledge": "acknowledged", "resolve": "resolved", "false_alarm": "false_alarm",
}  # fmt: skip


def not_there(ident: str) -> NotFound:
    """Return the error for an id that no incident has."""
    return NotFound(f"no incident '{ident[:40]}'; `vigil incidents` lists them")


def _said(model: str, monitor: str, evidence: Evidence) -> tuple[str, str]:
    return sentences.summary(model, monitor, evidence), sentences.advice(model, monitor, evidence)


def _is_repetition(over: Incident, seen: float) -> bool:
    """Whether a window was seen before the incident was over, as after a restart of a monitor."""
    return 0.0 < seen <= over.seen < seen + CLOCK_SET_S


def _of(evidence: Evidence) -> tuple[Measured, tuple[Measured, ...], int]:
    """Return what makes evidence differ from that of the window before."""
    return evidence.leading, evidence.top, evidence.breached
