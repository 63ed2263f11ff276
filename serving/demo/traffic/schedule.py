"""What is played when: a day of traffic, and the changes that are planted in it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final, Literal

from serving.channel.messages.incidents import Severity

HOURS: Final = 24.0
MODEL: Final = "loans"
"""The model in whose traffic all changes are planted."""

Change = Literal["drift", "fairness gap", "concept change"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """A change that is planted in the traffic of one model.

    Attributes:
        change: which one.
        begins, ends: hours of the played day.
        cause, severity: of the incident that must follow.
        explained: whether its cause is looked for in the rows.
        plays: what is played, in one sentence.
        expects: what Vigil should say of it, in one sentence.
    """

    change: Change
    begins: float
    ends: float
    cause: str
    severity: Severity
    explained: bool = False
    plays: str
    expects: str


DRIFT: Final = Planted(
    change="drift",
    begins=8,
    ends=12,
    cause="drift",
    severity="info",
    plays="a campaign for long loans: nearly all applicants want 60 months",
    expects="drift of 'term_months', and no page, for it does no harm",
)
FAIRNESS: Final = Planted(
    change="fairness gap",
    begins=12,
    ends=16,
    cause="fairness/sex",
    severity="ticket",
    explained=True,
    plays="women come with short credit histories and men with long ones; all applicants together "
    "are as ever",
    expects="a ticket for fairness by 'sex', and no drift, for no input has changed",
)
CONCEPT: Final = Planted(
    change="concept change",
    begins=16,
    ends=24,
    cause="performance",
    severity="page",
    explained=True,
    plays="the underwriters begin to reject whoever rents; labels tell it two hours later",
    expects="a page: the accuracy has fallen, because rows like those of before have other truths",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """A played day.

    Attributes:
        seconds: how long it takes.
        begins, ends: hours of it that are played.
        rows_per_s: of the model that changes are planted in, on average.
        label_delay_h: how many hours after its answer a row gets its label.
        push_every_h: labels come in bulk, so many hours apart.
        planted: in the order of their times.
    """

    seconds: float = 120.0
    begins: float = 0.0
    ends: float = HOURS
    rows_per_s: float = 200.0
    label_delay_h: float = 2.0
    push_every_h: float = 1.0
    planted: tuple[Planted, ...] = field(default=(DRIFT, FAIRNESS, CONCEPT))

    @property
    def last_push(self) -> float:
        """The hour when the last labels come, counted on beyond midnight."""
        return self.ends + self.label_delay_h + self.push_every_h

    @property
    def rows(self) -> int:
        """How many rows the model gets in which changes are planted."""
        return int(self.rows_until(self.ends) - self.rows_until(self.begins))

    def hour(self, seconds: float) -> float:
        """Return the hour of the day so many seconds after the beginning."""
        return self.begins + seconds * HOURS / self.seconds

    def at(self, hour: float) -> Planted | None:
        """Return the change that is played in an hour; None: nothing is planted then."""
        return next((each for each in self.planted if each.begins <= hour < each.ends), None)

    def rows_until(self, hour: float) -> float:
        """Return how many rows were sent until an hour, of a day that begins at midnight.

        The integral of a rate that is lowest at 4 and highest at 16 o'clock.
        """
        turns = 2 * math.pi / HOURS
        waves = (math.sin(turns * (hour - 4)) + math.sin(turns * 4)) / turns
        return self.rows_per_s * self.seconds / HOURS * (hour - AMPLITUDE * waves)


AMPLITUDE: Final = 0.5
"""How far the rate goes up and down, as a share of its average."""


def clock(hour: float) -> str:
    """Return an hour of the day as clocks show it."""
    minutes = round(hour * 60)
    # The evening's labels come in the night after it, which is no other day.
    return f"{minutes // 60 % 24:02d}:{minutes % 60:02d}"
