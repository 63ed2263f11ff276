"""What has happened in the past: predictions, and labels that came later."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from monitors.performance.labels import LabelEvent
from serving.monitoring.event_decoding import PredictionEvent


@dataclass(frozen=True, slots=True)
class Predicted:
    """Rows that a version was asked, and what it has answered.

    Attributes:
        time: when, in seconds since the epoch.
        version: that answered.
        event: the rows.
    """

    time: float
    version: str
    event: PredictionEvent


@dataclass(frozen=True, slots=True)
class Labelled:
    """Labels that became known.

    Attributes:
        time: when, in seconds since the epoch.
        labels: at least one.
    """

    time: float
    labels: Sequence[LabelEvent]


Happening = Predicted | Labelled


class Past(Protocol):
    """Where the past is read from.

    Attributes:
        rows: how many predictions there are.
        labels: how many of them have a label.
        first, last: times of the first and the last prediction, in seconds since the epoch.
        notes: what the past lacks, one sentence each.
    """

    rows: int
    labels: int
    first: float
    last: float
    notes: list[str]

    def __iter__(self) -> Iterator[Happening]:
        """Yield all that has happened in the order of its times."""


MOST_ROWS: Final = 64
"""Of one event, as a busy gateway tells them."""
LEAST_SPAN_S: Final = 10.0
MOST_EVENTS: Final = 20_000
"""About, where few rows come: their times are as exact as that."""


def events(when: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield which rows are told together: the first, and the first of the next.

    Args:
        when: times of the rows in their order, float64 [n].
    """
    span = max(LEAST_SPAN_S, float(when[-1] - when[0]) / MOST_EVENTS)
    start = 0
    while start < len(when):
        soon = int(np.searchsorted(when, when[start] + span, side="right"))
        stop = min(start + MOST_ROWS, soon)
        yield start, stop
        start = stop


def in_order(predicted: Iterator[Predicted], labelled: Iterator[Labelled]) -> Iterator[Happening]:
    """Yield both in the order of their times; at one time a prediction goes before its label."""
    label = next(labelled, None)
    for prediction in predicted:
        while label is not None and label.time < prediction.time:
            yield label
            label = next(labelled, None)
        yield prediction
    if label is not None:
        yield label
        yield from labelled
