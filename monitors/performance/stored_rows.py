"""A prediction that waits for its label, what is known of that, and how entries are numbered."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from monitors.performance.forgotten_keys import Key
from monitors.performance.group_values import Groups
from monitors.performance.labels import Value
from monitors.performance.prediction_entries import KEPT


class EntryNumbers:
    """Numbers of entries, each given once.

    Attributes:
        last: the last one that was given.
    """

    def __init__(self) -> None:
        self.last = KEPT

    def new(self) -> int:
        """Return a number."""
        self.last += 1
        return self.last


class KnownLabel(msgspec.Struct, gc=False):
    """A row's label.

    Attributes:
        truth: its value.
        position: see `JoinedRow.position`.
        learned: attributes that it has brought; None: the value was not saved. It is replaced,
            never changed.
        known_at: seconds since the epoch when it became known, where that was told.
        came: seconds since the epoch when it came.
    """

    truth: Value
    position: int
    learned: Mapping[str, str | None]
    known_at: float | None
    came: float = 0.0


class StoredRow(msgspec.Struct, gc=False):
    """A prediction.

    Attributes:
        key: the client's id of the request, and the row in it.
        number: tells the order; recalled ones have negative numbers.
        predicted: what was predicted; None: no number.
        timestamp: seconds since the epoch when it was made.
        groups: sensitive values that came with the request.
        label: its label; None: it has none yet.
        scores: of the classes, where it has some.
        entry: number of its own entry; 0: it has none.
    """

    key: Key
    number: int
    predicted: Value | None
    timestamp: float
    groups: Groups
    label: KnownLabel | None = None
    scores: list[float] | None = None
    entry: int = 0
