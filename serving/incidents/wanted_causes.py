"""Of which incidents the cause is looked for in the rows, and when again where that failed.

What is wanted follows from the incidents alone, so a restart goes on with it by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from serving.channel.messages.causes import CauseMeta
from serving.channel.messages.incidents import Incident

EXPLAINED: Final = frozenset({"performance", "fairness"})
"""Monitors whose breaches the rows explain."""
SETTLE_S: Final = 5.0
"""How long after a breach rows and labels have time to come to the log."""
AGAIN_S: Final = 60.0
"""The first pause before it is tried again; each is twice as long as the one before."""
LONGEST_S: Final = 3600.0


class Wanted(NamedTuple):
    """A cause that is to be looked for.

    Attributes:
        ident: of the incident.
        about: which state of the incident it is for.
        asked: what to ask the model's monitor.
    """

    ident: str
    about: str
    asked: CauseMeta


class WantedCauses:
    """Says whose cause is to be looked for next.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._tried: dict[str, tuple[str, int, float]] = {}
        """By incident: for which state, how often in vain, and when last."""

    def next(self, active: Iterable[Incident]) -> Wanted | None:
        """Return what is to be looked for now; None: nothing is."""
        incidents = {each.id: each for each in active if each.monitor in EXPLAINED}
        self._tried = {each: told for each, told in self._tried.items() if each in incidents}
        now = self._clock()
        for incident in incidents.values():
            if self._is_wanted(incident, now):
                return Wanted(incident.id, about(incident), _asked(incident))
        return None

    def tried(self, wanted: Wanted) -> None:
        """Note that nothing was found, which later rows may change."""
        state, times, _ = self._tried.get(wanted.ident, ("", 0, 0.0))
        times = times + 1 if state == wanted.about else 1
        self._tried[wanted.ident] = wanted.about, times, self._clock()

    def _is_wanted(self, incident: Incident, now: float) -> bool:
        cause = incident.evidence.cause
        mark = about(incident)
        if cause is not None and cause.known and cause.about == mark:
            return False
        state, times, last = self._tried.get(incident.id, ("", 0, 0.0))
        if state == mark:
            pause = min(AGAIN_S * 2.0 ** (times - 1), LONGEST_S)
            return not 0 <= now - last < pause
        worsened = max(each.at for each in incident.history)
        return not 0 <= now - worsened < SETTLE_S


def about(incident: Incident) -> str:
    """Return what tells the state of an incident that wants a cause from a worse one."""
    return f"{incident.reopened} {incident.severity}"


def _asked(incident: Incident) -> CauseMeta:
    evidence = incident.evidence
    attribute = evidence.leading.subject if incident.monitor == "fairness" else ""
    # What opened it shows its beginning best: later windows look back over what was before, too.
    return CauseMeta(incident.model, evidence.leading.metric, attribute, incident.first.since)
