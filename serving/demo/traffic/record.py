"""What was played, and what Vigil said meanwhile: for the comparison and for the picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from serving.channel.messages.incidents import Incident
from serving.demo.traffic.schedule import Day


class Sent(NamedTuple):
    """What is known of the rows of one request.

    Attributes:
        hour: when it was sent.
        rows: how many.
        long_terms: how many applicants want the longest term.
        men, women: how many there are.
        men_approved, women_approved: how many of them the model would give a credit.
        right: of how many the answer agrees with the truth.
    """

    hour: float
    rows: int
    long_terms: int
    men: int
    women: int
    men_approved: int
    women_approved: int
    right: int


@dataclass(slots=True)
class Seen:
    """An incident that was opened while the day was played.

    Attributes:
        hour: when it was seen first.
        incident: as it was seen last.
    """

    hour: float
    incident: Incident


@dataclass(slots=True)
class Record:
    """All that happened.

    Attributes:
        day: what was to be played.
        seed: of chance.
        sent: in the order of their times.
        pushed: hours when labels were pushed, and how many.
        seen: incidents in the order in which they were seen first.
    """

    day: Day
    seed: int
    sent: list[Sent] = field(default_factory=list)
    pushed: list[tuple[float, int]] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
