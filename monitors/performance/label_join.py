"""Brings labels that come late together with the predictions they are about, in bounded memory."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np

from monitors.performance.forgotten_keys import ForgottenKeys, Key
from monitors.performance.labels import JoinedRow, LabelEvent, Truth
from monitors.rows import Rows

Entry = Sequence[Any]
"""What is saved of one prediction or waiting label: its number first, alone when it is gone."""


@dataclass(frozen=True, slots=True)
class LabelCounts:
    """What became of pushed labels; every label is in exactly one of the first four.

    Attributes:
        accepted: joined with a stored prediction.
        duplicate: the row had this very label already.
        unknown: no such prediction was ever seen; kept until it appears or the time to live is
            over.
        late: the prediction is older than the retention, or forgotten.
        replaced: of the accepted: the row had another label before.
    """

    accepted: int = 0
    duplicate: int = 0
    unknown: int = 0
    late: int = 0
    replaced: int = 0


_NOTHING: Final[frozenset[str]] = frozenset()


class _Row(msgspec.Struct, gc=False):
    # One is made per prediction: a struct takes a third of a dataclass's time.
    number: int
    predicted: int
    timestamp: float
    known: frozenset[str]  # attributes that came with the request: names only, never values
    label: int | None = None


@dataclass(frozen=True, slots=True)
class _Waiting:
    number: int
    truth: int
    sensitive: Mapping[str, str]
    since: float


class LabelJoin:
    """In-memory join of the predictions of one model with labels, by (request id, row).

    Where several predictions share an id the newest wins, and `ambiguous` counts them. A label
    that replaces another is kept and counted but gives no second joined row: what was judged
    with the first one stays as it was judged.

    Args:
        classes: class names by index, for labels that come as names.
        max_rows: predictions kept, and labels kept for predictions to come; the oldest go first.
        pending_ttl: seconds for which a label waits for its prediction.
        retention: seconds after which a prediction takes no label any more.
        forgotten: where the keys of predictions go that are not kept any more; other joins may
            share it, whose predictions the labels may be about.
    """

    def __init__(
        self,
        classes: Sequence[str] = (),
        max_rows: int = 100_000,
        pending_ttl: float = 3600.0,
        retention: float = 30 * 86400.0,
        forgotten: ForgottenKeys | None = None,
    ) -> None:
        self._classes = {name: index for index, name in enumerate(classes)}
        self._max_rows = max_rows
        self._ttl, self._retention = pending_ttl, retention
        self._rows: OrderedDict[Key, _Row] = OrderedDict()
        self._pending: OrderedDict[Key, _Waiting] = OrderedDict()
        self._forgotten = ForgottenKeys() if forgotten is None else forgotten
        self._last_number = 0
        self._changed: dict[int, Key] = {}
        self.expired = 0
        """Labels whose prediction never appeared."""
        self.ambiguous = 0
        """Predictions whose (request id, row) another prediction had before."""

    def class_index(self, y_true: Truth) -> int:
        """Return the class index that a label names.

        Raises:
            ValueError: it is neither a known class name nor a whole number.
        """
        if isinstance(y_true, str) and y_true in self._classes:
            return self._classes[y_true]
        if isinstance(y_true, int) or (isinstance(y_true, float) and y_true.is_integer()):
            return int(y_true)
        raise ValueError("y_true must be a class name of the model or a class index")

    def knows(self, request_id: str, index: int) -> bool:
        """Whether the prediction is stored."""
        return (request_id, index) in self._rows

    def add(self, predictions: Rows) -> list[JoinedRow]:
        """Store predictions with their classes; returns those whose label was waiting for them."""
        if not predictions.n:
            return []
        assert predictions.predicted is not None
        joined = []
        keys = zip(predictions.request_ids, np.asarray(predictions.row_index).tolist(), strict=True)
        predicted = predictions.predicted.tolist()
        # A busy server has tens of thousands of rows a second, so the loop makes few calls.
        rows, waits, changed = self._rows, self._pending, self._changed
        number, timestamp = self._last_number, predictions.timestamp
        self._last_number += predictions.n
        for key, wanted, known in zip(keys, predicted, _known(predictions), strict=True):
            before = rows.pop(key, None)
            if before is not None:
                self.ambiguous += 1
                changed[before.number] = key
            number += 1
            changed[number] = key
            row = rows[key] = _Row(number, wanted, timestamp, known)
            waiting = self._stop_waiting(key) if waits else None
            if waiting is not None:
                joined.append(_join(row, waiting.truth, waiting.sensitive))
        self._forget_oldest(len(rows) - self._max_rows)
        return joined

    def add_labels(
        self, labels: Sequence[LabelEvent], now: float
    ) -> tuple[LabelCounts, list[JoinedRow]]:
        """Take in labels; returns what became of them, and the rows that have their truth now.

        Args:
            labels: all of them with a `y_true` that `class_index` takes.
            now: seconds since the epoch.

        Raises:
            ValueError: a `y_true` names no class; then no label of this call was taken in.
        """
        truths = [self.class_index(label.y_true) for label in labels]
        counts = dict.fromkeys(("accepted", "duplicate", "unknown", "late", "replaced"), 0)
        joined = []
        keys = [(label.request_id, label.index) for label in labels]
        forgotten = self._forgotten.among([key for key in keys if key not in self._rows])
        for key, label, truth in zip(keys, labels, truths, strict=True):
            row = self._rows.get(key)
            if row is None and key in forgotten:
                counts["late"] += 1
            elif row is None:
                waiting = self._stop_waiting(key)
                counts["duplicate" if waiting and waiting.truth == truth else "unknown"] += 1
                sensitive = label.sensitive_features
                self._pending[key] = _Waiting(self._number(key), truth, sensitive, now)
            elif now - row.timestamp > self._retention:
                counts["late"] += 1
            elif row.label == truth:
                counts["duplicate"] += 1
            else:
                counts["accepted"] += 1
                counts["replaced"] += row.label is not None
                if row.label is None:
                    joined.append(_join(row, truth, label.sensitive_features))
                row.label = truth
                self._changed[row.number] = key
        self.expire(now)
        return LabelCounts(**counts), joined

    def expire(self, now: float) -> None:
        """Drop labels that have waited too long, or are too many, and count them."""
        while self._pending:
            key, waiting = next(iter(self._pending.items()))
            if now - waiting.since <= self._ttl and len(self._pending) <= self._max_rows:
                return
            self._stop_waiting(key)
            self.expired += 1

    def forget(self) -> None:
        """Forget everything; labels of these predictions are late from now on."""
        self._pending.clear()
        self._forget_oldest(len(self._rows))

    # -- what is saved ------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return counts as JSON values; predictions and labels are entries."""
        return {"expired": self.expired, "ambiguous": self.ambiguous}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.expired, self.ambiguous = state["expired"], state["ambiguous"]

    def changes(self) -> list[Entry]:
        """Return the entries that differ from those of the last call: JSON values, no attribute.

        An entry replaces the earlier one of its number; a number alone takes it away.
        """
        changed, self._changed = self._changed, {}
        return [self._entry(key, number) or (number,) for number, key in changed.items()]

    def entries(self) -> Iterator[Entry]:
        """Yield all entries; predictions and labels may come and go meanwhile."""
        for key in (*self._rows, *self._pending):
            for kept in (self._rows.get(key), self._pending.get(key)):
                entry = kept and self._entry(key, kept.number)
                if entry:
                    yield entry

    def restore_entries(self, entries: Iterable[Entry]) -> None:
        """Take in what `changes` and `entries` have returned, one entry a number."""
        for number, ident, index, *rest in sorted(entries, key=lambda entry: entry[0]):
            self._last_number = max(self._last_number, number)
            if len(rest) == 2:
                self._pending[ident, index] = _Waiting(number, rest[0], {}, rest[1])
            else:
                predicted, timestamp, known, label = rest
                row = _Row(number, predicted, timestamp, frozenset(known), label)
                self._rows[ident, index] = row

    def _entry(self, key: Key, number: int) -> Entry | None:
        row = self._rows.get(key)
        if row is not None and row.number == number:
            return (number, *key, row.predicted, row.timestamp, sorted(row.known), row.label)
        waiting = self._pending.get(key)
        if waiting is not None and waiting.number == number:
            return (number, *key, waiting.truth, waiting.since)
        return None

    def _number(self, key: Key) -> int:
        self._last_number += 1
        self._changed[self._last_number] = key
        return self._last_number

    def _stop_waiting(self, key: Key) -> _Waiting | None:
        waiting = self._pending.pop(key, None)
        if waiting is not None:
            self._changed[waiting.number] = key
        return waiting

    def _forget_oldest(self, count: int) -> None:
        forgotten = []
        for _ in range(count):
            key, row = self._rows.popitem(last=False)
            self._changed[row.number] = key
            forgotten.append(key)
        self._forgotten.add_all(forgotten)


def prediction_keys(entries: Iterable[Entry]) -> Iterator[Key]:
    """Yield the keys of the predictions among saved entries."""
    for _, ident, index, *rest in entries:
        if len(rest) != 2:
            yield ident, index


def _known(rows: Rows) -> Iterator[frozenset[str]]:
    """Yield for each row the attributes that came with it."""
    groups = rows.groups
    if not groups:
        return itertools.repeat(_NOTHING, rows.n)
    return (
        frozenset(name for name, values in groups.items() if values[at] is not None)
        for at in range(rows.n)
    )


def _join(row: _Row, truth: int, sensitive: Mapping[str, str]) -> JoinedRow:
    row.label = truth
    learned = {name: value for name, value in sensitive.items() if name not in row.known}
    return JoinedRow(row.predicted, truth, learned)
