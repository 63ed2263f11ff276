"""What was planted against what Vigil said: found, missing, wrong."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from serving.demo.traffic.record import Seen
from serving.demo.traffic.schedule import MODEL, Planted


@dataclass(frozen=True, slots=True)
class Comparison:
    """How the day went.

    Attributes:
        found: the incident of each planted change; None: there was none.
        wrong: incidents that nothing planted explains.
    """

    found: tuple[tuple[Planted, Seen | None], ...]
    wrong: tuple[Seen, ...]

    @property
    def right(self) -> bool:
        """Whether all was found that was planted, and nothing else."""
        return not self.wrong and all(seen is not None for _, seen in self.found)


def compare(planted: Iterable[Planted], seen: Iterable[Seen]) -> Comparison:
    """Give each planted change its incident.

    An incident is the change's if it is of its model, cause and severity, and was not there before
    the change. Whatever is left is wrong.
    """
    left = list(seen)
    found = []
    for change in planted:
        mine = next((each for each in left if _explains(change, each)), None)
        if mine is not None:
            left.remove(mine)
        found.append((change, mine))
    return Comparison(tuple(found), tuple(left))


def _explains(change: Planted, seen: Seen) -> bool:
    incident = seen.incident
    same = (incident.model, incident.cause) == (MODEL, change.cause)
    return same and incident.severity == change.severity and seen.hour >= change.begins
