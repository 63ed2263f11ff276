"""Brings labels that come late together with the predictions they are about, in bounded memory."""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from monitors.performance.forgotten_keys import ForgottenKeys, Key
from monitors.performance.label_kinds import ClassLabels, LabelKind
from monitors.performance.labels import (
    CorrectedRow,
    JoinedRow,
    LabelEvent,
    LoggedPrediction,
    Truth,
    Value,
)
from monitors.rows import Rows

Entry = Sequence[Any]
"""What is saved of one prediction or waiting label: its number first, alone when it is gone."""


@dataclass(frozen=True, slots=True)
class LabelCounts:
    """What became of pushed labels; every label is in exactly one of the first four.

    Attributes:
        accepted: joined with a stored prediction.
        duplicate: the row had this very label already, or one that became known later.
        unknown: no such prediction was ever seen; kept until it appears or the time to live is
            over.
        late: the prediction is older than the retention, or forgotten and not recalled.
        replaced: of the accepted: the row had another label before.
    """

    accepted: int = 0
    duplicate: int = 0
    unknown: int = 0
    late: int = 0
    replaced: int = 0


class Joined(NamedTuple):
    """What pushed labels have done.

    Attributes:
        counts: what became of them.
        rows: rows that have their truth now.
        corrected: rows that had another one before, in the order of the labels.
    """

    counts: LabelCounts
    rows: list[JoinedRow]
    corrected: list[CorrectedRow]


SLACK_S: Final = 1.0
"""A prediction may have been made so long before the time of the message that tells of it."""
_NOTHING: Final[frozenset[str]] = frozenset()
_OF_WAITING: Final = (2, 3)
"""Values of a waiting label's entry, behind its key; a prediction's has more."""


class _Label(msgspec.Struct, gc=False):
    truth: Value
    position: int  # see `JoinedRow.position`
    learned: dict[str, str | None]  # attributes it has brought; None: the value was not saved
    known_at: float | None


class _Row(msgspec.Struct, gc=False):
    # One is made per prediction: a struct takes a third of a dataclass's time.
    number: int
    predicted: Value | None
    timestamp: float
    known: frozenset[str]  # attributes that came with the request: names only, never values
    label: _Label | None = None
    note: object = None  # which is not saved


@dataclass(frozen=True, slots=True)
class _Waiting:
    number: int
    truth: Value
    sensitive: Mapping[str, str]
    since: float
    known_at: float | None = None


class LabelJoin:
    """In-memory join of the predictions of one model with labels, by (request id, row).

    Where several predictions share an id the newest wins, and `ambiguous` counts them.

    The last label of a row is the true one. It replaces another that came before, unless that one
    became known later (`LabelEvent.timestamp`), and gives a corrected row. A sensitive value that
    it does not name stays as it was.

    A prediction that was forgotten may be recalled before its label is added, if it never had one.
    Recalled ones have negative numbers, stand before all others and are forgotten first.

    Args:
        kind: how labels are read.
        max_rows: predictions kept, and labels kept for predictions to come; the oldest go first.
        pending_ttl: seconds for which a label waits for its prediction.
        retention: seconds after which a prediction takes no label any more, unless it is recalled.
        forgotten: where the keys of predictions go that are not kept any more; other joins may
            share it, whose predictions the labels may be about.
    """

    def __init__(
        self,
        kind: LabelKind | None = None,
        max_rows: int = 100_000,
        pending_ttl: float = 3600.0,
        retention: float = 30 * 86400.0,
        forgotten: ForgottenKeys | None = None,
    ) -> None:
        self._kind = ClassLabels() if kind is None else kind
        self._max_rows = max_rows
        self._ttl, self._retention = pending_ttl, retention
        self._rows: OrderedDict[Key, _Row] = OrderedDict()
        self._pending: OrderedDict[Key, _Waiting] = OrderedDict()
        self._forgotten = ForgottenKeys() if forgotten is None else forgotten
        self._last_number = 0
        self._first_number = 0
        self._since = math.inf
        """Time of the first prediction that was counted; of earlier ones none is recalled."""
        self._changed: dict[int, Key] = {}
        self.expired = 0
        """Labels whose prediction never appeared."""
        self.ambiguous = 0
        """Predictions whose (request id, row) another prediction had before."""
        self.labelled = 0
        """Rows that have, or had, a label."""

    def read(self, labels: Sequence[LabelEvent]) -> list[Value]:
        """Return what labels say.

        Raises:
            ValueError: one is of a kind that the model does not take.
        """
        try:
            return [self._kind.read(label.y_true) for label in labels]
        except ValueError:
            raise ValueError(self._wrong(labels)) from None

    def _wrong(self, labels: Sequence[LabelEvent]) -> str:
        """Return a sentence on the first label that is of another kind."""
        for label in labels:
            try:
                self._kind.read(label.y_true)
            except ValueError as error:
                which = f"'{label.request_id[:100]}', row {label.index}"
                given = _shown(label.y_true)
                return f"y_true of {which} must be {error}; it is {given}"
        raise AssertionError("one of them is wrong")

    def knows(self, request_id: str, index: int) -> bool:
        """Whether the prediction is stored."""
        return (request_id, index) in self._rows

    def add(self, predictions: Rows, notes: Iterable[object] | None = None) -> list[JoinedRow]:
        """Store predictions with their classes; returns those whose label was waiting for them.

        Args:
            predictions: with what is predicted.
            notes: what a joined row has as its `note`, of each row; it is not saved.
        """
        if not predictions.n:
            return []
        assert predictions.predicted is not None
        joined = []
        keys = zip(predictions.request_ids, np.asarray(predictions.row_index).tolist(), strict=True)
        predicted = self._kind.values(predictions.predicted)
        # A busy server has tens of thousands of rows a second, so the loop makes few calls.
        self._since = min(self._since, predictions.timestamp - SLACK_S)
        rows, waits, changed = self._rows, self._pending, self._changed
        number, timestamp = self._last_number, predictions.timestamp
        self._last_number += predictions.n
        noted = itertools.repeat(None, predictions.n) if notes is None else notes
        for key, wanted, known, note in zip(
            keys, predicted, _known(predictions), noted, strict=True
        ):
            before = rows.pop(key, None)
            if before is not None:
                self.ambiguous += 1
                changed[before.number] = key
            number += 1
            changed[number] = key
            row = rows[key] = _Row(number, wanted, timestamp, known, None, note)
            waiting = self._stop_waiting(key) if waits else None
            if waiting is not None:
                joined.append(self._join(row, waiting))
        self._forget_oldest(len(rows) - self._max_rows)
        return joined

    def missing(self, keys: Iterable[Key], now: float) -> list[Key]:
        """Return the keys whose prediction may be worth recalling: it is not here, or too old."""
        return [key for key in keys if self._lacks(key, now)]

    def _lacks(self, key: Key, now: float) -> bool:
        row = self._rows.get(key)
        return row is None or (row.label is None and self._too_old(row, now))

    def _too_old(self, row: _Row, now: float) -> bool:
        return row.number > 0 and now - row.timestamp > self._retention

    def recall(self, predictions: Sequence[LoggedPrediction], now: float) -> set[Key]:
        """Store predictions again that were forgotten; returns the keys of those that are stored.

        Left out is what is here, had a label, was made before this join began to count, or is of
        another kind.

        Args:
            predictions: no two of one key.
            now: seconds since the epoch.
        """
        wanted = [
            each
            for each in predictions
            if self._lacks(each.key, now)
            and each.timestamp >= self._since
            and each.timestamp > self._forgotten.horizon
        ]
        labelled = self._forgotten.labelled([each.key for each in wanted])
        wanted = [each for each in wanted if each.key not in labelled]
        recalled = set()
        for each, predicted in zip(wanted, self._values(wanted), strict=True):
            if self._kind.holds(predicted):
                before = self._rows.pop(each.key, None)
                if before is not None:
                    self._changed[before.number] = each.key
                self._first_number -= 1
                number = self._first_number
                self._changed[number] = each.key
                known = frozenset(each.known)
                self._rows[each.key] = _Row(number, predicted, each.timestamp, known)
                self._rows.move_to_end(each.key, last=False)
                recalled.add(each.key)
        return recalled

    def _values(self, predictions: Sequence[LoggedPrediction]) -> list[Any]:
        """Return what was predicted as `add` has it; where it is of another kind, nothing it is."""
        if not predictions:
            return []
        try:
            predicted = np.array([each.predicted for each in predictions])
            return self._kind.values(predicted)
        except (TypeError, ValueError):  # of rows that differ in length, or of texts
            return [""] * len(predictions)

    def add_labels(self, labels: Sequence[LabelEvent], now: float) -> Joined:
        """Take in labels; returns what became of them, and of the rows.

        Args:
            labels: as the model takes them.
            now: seconds since the epoch.

        Raises:
            ValueError: one is of another kind; then no label of this call was taken in.
        """
        truths = self.read(labels)
        counts = dict.fromkeys(("accepted", "duplicate", "unknown", "late", "replaced"), 0)
        joined: list[JoinedRow] = []
        corrected: list[CorrectedRow] = []
        keys = [(label.request_id, label.index) for label in labels]
        forgotten = self._forgotten.among([key for key in keys if key not in self._rows])
        for key, label, truth in zip(keys, labels, truths, strict=True):
            row = self._rows.get(key)
            if row is None and key in forgotten:
                counts["late"] += 1
            elif row is None:
                counts["unknown" if self._wait(key, label, truth, now) else "duplicate"] += 1
            elif self._too_old(row, now):
                counts["late"] += 1
            elif row.label is None:
                counts["accepted"] += 1
                self._changed[row.number] = key
                self._stop_waiting(key)  # one that came before the prediction was recalled
                of = _Waiting(0, truth, label.sensitive_features, now, label.timestamp)
                joined.append(self._join(row, of))
            elif (correction := _correct(row, row.label, label, truth)) is None:
                counts["duplicate"] += 1
                if label.timestamp is not None:
                    self._changed[row.number] = key
            else:
                counts["accepted"] += 1
                counts["replaced"] += 1
                self._changed[row.number] = key
                corrected.append(correction)
        self._forget_oldest(len(self._rows) - self._max_rows)
        self.expire(now)
        return Joined(LabelCounts(**counts), joined, corrected)

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

    @property
    def last_number(self) -> int:
        """The number of the newest entry; later ones have greater numbers."""
        return self._last_number

    def forget_requests(self, idents: Collection[str], upto: float = math.inf) -> int:
        """Forget requests; labels of their predictions are late from now on.

        Args:
            idents: the clients' ids.
            upto: entries with greater numbers stay.

        Returns:
            How many entries are gone, of predictions and of labels that waited for one.
        """
        waiting = [
            key for key, label in self._pending.items() if key[0] in idents and label.number <= upto
        ]
        for key in waiting:
            self._stop_waiting(key)
        keys = [key for key, row in self._rows.items() if key[0] in idents and row.number <= upto]
        self._forget(keys)
        return len(waiting) + len(keys)

    # -- what is saved ------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return counts as JSON values; predictions and labels are entries."""
        state = {"expired": self.expired, "ambiguous": self.ambiguous, "labelled": self.labelled}
        return state if self._since == math.inf else {**state, "since": self._since}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        expired, ambiguous, labelled = state["expired"], state["ambiguous"], state["labelled"]
        self.expired, self.ambiguous, self.labelled = expired, ambiguous, labelled
        # Where it was not saved yet, nobody knows which of the predictions before had a label.
        self._since = state.get("since", math.inf)

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
        """Take in what `changes` and `entries` have returned, one entry a number.

        Those whose values are of another kind are left out: the model was set up otherwise.
        """
        for number, ident, index, *rest in sorted(entries, key=lambda entry: entry[0]):
            self._last_number = max(self._last_number, number)
            self._first_number = min(self._first_number, number)
            if not self._kind.holds(rest[0]):
                continue
            if len(rest) in _OF_WAITING:
                truth, since, *known_at = rest
                self._pending[ident, index] = _Waiting(number, truth, {}, since, *known_at)
            else:
                predicted, timestamp, known, truth, *more = rest
                row = _Row(number, predicted, timestamp, frozenset(known))
                if truth is not None:
                    row.label = _saved_label(truth, *more)
                self._rows[ident, index] = row

    def _entry(self, key: Key, number: int) -> Entry | None:
        row = self._rows.get(key)
        if row is not None and row.number == number:
            made = (number, *key, row.predicted, row.timestamp, sorted(row.known))
            label = row.label
            if label is None:
                return (*made, None)
            return (*made, label.truth, label.position, sorted(label.learned), label.known_at)
        waiting = self._pending.get(key)
        if waiting is not None and waiting.number == number:
            return (number, *key, waiting.truth, waiting.since, waiting.known_at)
        return None

    def _number(self, key: Key) -> int:
        self._last_number += 1
        self._changed[self._last_number] = key
        return self._last_number

    def _wait(self, key: Key, label: LabelEvent, truth: Value, now: float) -> bool:
        """Keep a label for its prediction; returns False if it was there or is out of date."""
        before = self._pending.get(key)
        if before is not None and _older(label, before.known_at):
            return False
        self._stop_waiting(key)
        sensitive = {**(before.sensitive if before else {}), **label.sensitive_features}
        known_at = label.timestamp
        self._pending[key] = _Waiting(self._number(key), truth, sensitive, now, known_at)
        return before is None or before.truth != truth

    def _join(self, row: _Row, label: _Waiting) -> JoinedRow:
        learned = {n: value for n, value in label.sensitive.items() if n not in row.known}
        row.label = _Label(label.truth, self.labelled, {**learned}, label.known_at)
        self.labelled += 1
        delay = max(label.since - row.timestamp, 0.0)
        position = row.label.position
        return JoinedRow(row.predicted, label.truth, learned, position, delay, row.note)

    def _stop_waiting(self, key: Key) -> _Waiting | None:
        waiting = self._pending.pop(key, None)
        if waiting is not None:
            self._changed[waiting.number] = key
        return waiting

    def _forget_oldest(self, count: int) -> None:
        self._forget(list(itertools.islice(self._rows, max(count, 0))))

    def _forget(self, keys: Iterable[Key]) -> None:
        forgotten, labelled, latest = [], [], -math.inf
        for key in keys:
            row = self._rows.pop(key)
            self._changed[row.number] = key
            if row.label is None:
                forgotten.append(key)
            else:
                labelled.append(key)
                latest = max(latest, row.timestamp)
        self._forgotten.add_all(forgotten)
        self._forgotten.add_labelled(labelled, latest)


def is_of(entry: Entry, idents: Collection[str]) -> bool:
    """Whether an entry is of a request with one of these ids; other owners' entries have none."""
    ident = entry[1] if len(entry) > 1 else None
    return isinstance(ident, str) and ident in idents


def prediction_keys(entries: Iterable[Entry]) -> Iterator[Key]:
    """Yield the keys of the predictions among saved entries."""
    for _, ident, index, *rest in entries:
        if len(rest) not in _OF_WAITING:
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


def _saved_label(
    truth: Value, position: int = -1, learned: Sequence[str] = (), known_at: float | None = None
) -> _Label:
    """Return a label from its entry, which had only the truth at first."""
    return _Label(truth, position, dict.fromkeys(learned), known_at)


def _shown(y_true: Truth) -> str:
    """Return a label as a client may see it again."""
    if isinstance(y_true, bool):
        return "true" if y_true else "false"
    if isinstance(y_true, str):
        return f"the text '{y_true[:40]}'"
    if isinstance(y_true, list):
        return f"a list of {len(y_true)}"
    return f"{y_true}"


def _older(label: LabelEvent, known_at: float | None) -> bool:
    """Whether a label became known before the one that is there, as far as both tell."""
    return label.timestamp is not None and known_at is not None and label.timestamp < known_at


def _correct(row: _Row, kept: _Label, label: LabelEvent, truth: Value) -> CorrectedRow | None:
    """Replace a row's label; returns None if nothing about it is new."""
    if _older(label, kept.known_at):
        return None
    told = {n: value for n, value in label.sensitive_features.items() if n not in row.known}
    # Of a value that was not saved nobody can say whether it is another one.
    learned = {
        name: value
        for name, value in told.items()
        if name not in kept.learned or kept.learned[name] not in (None, value)
    }
    before = kept.truth
    kept.known_at = label.timestamp if label.timestamp is not None else kept.known_at
    if truth == before and not learned:
        return None
    forgotten = {name: old for name in learned if (old := kept.learned.get(name)) is not None}
    kept.truth = truth
    kept.learned |= learned
    return CorrectedRow(row.predicted, before, truth, forgotten, learned, kept.position)
