"""Brings labels that come late together with the predictions they are about, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from monitors.performance.forgotten_keys import ForgottenKeys, Key
from monitors.performance.group_values import SharedGroups
from monitors.performance.label_kinds import ClassLabels, LabelKind
from monitors.performance.label_orders import LabelOrders, Wanted
from monitors.performance.labels import (
    CorrectedRow,
    JoinedRow,
    LabelEvent,
    LoggedPrediction,
    Truth,
    Value,
)
from monitors.performance.prediction_entries import Entry, sorted_out
from monitors.performance.stored_predictions import Forgotten, StoredPredictions
from monitors.performance.stored_rows import EntryNumbers, KnownLabel, StoredRow
from monitors.performance.waiting_labels import WaitingLabel, WaitingLabels
from monitors.rows import Rows


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


class Ordered(NamedTuple):
    """Rows that are wanted next.

    Attributes:
        wanted: rows to label.
        pool: rows that they were drawn from.
        released: rows whose label had come and was not counted, and counts now.
    """

    wanted: list[Wanted]
    pool: int
    released: list[JoinedRow]


SLACK_S: Final = 1.0
"""A prediction may have been made so long before the time of the message that tells of it."""
TICK_S: Final = 2e-6
"""A correction comes so much after the label that it replaces at least: they differ in µs."""


class LabelJoin:
    """In-memory join of the predictions of one model with labels, by (request id, row).

    Where several predictions share an id the newest wins, and `ambiguous` counts them.

    The last label of a row is the true one. It replaces another that came before, unless that one
    became known later (`LabelEvent.timestamp`), and gives a corrected row. A sensitive value that
    it does not name stays as it was.

    A prediction that was forgotten may be recalled before its label is added, if it never had one.
    Recalled ones stand before all others and are forgotten first.

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
        self._retention = retention
        self._numbers = EntryNumbers()
        self._rows = StoredPredictions(self._numbers)
        self._groups = SharedGroups()
        self._pending = WaitingLabels(self._numbers, max_rows, pending_ttl)
        self._forgotten = ForgottenKeys() if forgotten is None else forgotten
        self._since = math.inf
        """Time of the first prediction that was counted; of earlier ones none is recalled."""
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

    def add(self, predictions: Rows) -> list[JoinedRow]:
        """Store predictions with their classes; returns those whose label was waiting for them.

        Args:
            predictions: with what is predicted.
        """
        if not predictions.n:
            return []
        assert predictions.predicted is not None
        # A busy server has tens of thousands of rows a second, so nothing is done for each.
        index = np.asarray(predictions.row_index).tolist()
        keys = list(zip(predictions.request_ids, index, strict=True))
        predicted = self._kind.values(predictions.predicted)
        timestamp = predictions.timestamp
        self._since = min(self._since, timestamp - SLACK_S)
        self.ambiguous += self._rows.add(
            keys, predicted, timestamp, self._groups.of(predictions.groups), predictions.scores
        )
        joined = self._awaited(keys) if self._pending else []
        self._forget_oldest(len(self._rows) - self._max_rows)
        return joined

    def _awaited(self, keys: Sequence[Key]) -> list[JoinedRow]:
        """Join new predictions whose label was waiting for them."""
        joined = []
        for back, key in zip(range(len(keys), 0, -1), keys, strict=True):
            waiting = self._pending.take(key)
            if waiting is not None:
                joined.append(self._join(self._rows.added(back), waiting))
        return joined

    def missing(self, keys: Iterable[Key], now: float) -> list[Key]:
        """Return the keys whose prediction may be worth recalling: it is not here, or too old."""
        return [key for key in keys if self._lacks(key, now)]

    def _lacks(self, key: Key, now: float) -> bool:
        row = self._rows.get(key)
        return row is None or (row.label is None and self._too_old(row, now))

    def _too_old(self, row: StoredRow, now: float) -> bool:
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
                self._rows.recall(each.key, predicted, each.timestamp, each.groups, each.scores)
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
                counts["unknown" if self._pending.add(key, label, truth, now) else "duplicate"] += 1
            elif self._too_old(row, now):
                counts["late"] += 1
            elif row.label is None:
                counts["accepted"] += 1
                self._pending.take(key)  # one that came before the prediction was recalled
                of = WaitingLabel(0, truth, label.sensitive_features, now, label.timestamp)
                joined.append(self._join(row, of))
            elif (correction := _correct(row, row.label, label, truth, now)) is None:
                counts["duplicate"] += 1
                if label.timestamp is not None:
                    self._rows.touch(row)
            else:
                counts["accepted"] += 1
                counts["replaced"] += 1
                self._rows.touch(row)
                corrected.append(correction)
        self._forget_oldest(len(self._rows) - self._max_rows)
        self.expire(now)
        return Joined(LabelCounts(**counts), joined, corrected)

    def order(self, orders: LabelOrders, rows: int, seed: int, now: float) -> Ordered:
        """Draw rows to label among those that may get a label that counts.

        Args:
            orders: the orders before; it remembers this one.
            rows, seed: see `LabelOrders.draw`.
            now: seconds since the epoch.
        """
        pool = [row for row in self._rows.rows() if self._may_be_ordered(row, orders, now)]
        keys = [row.key for row in pool]
        held_out = {row.key: row for row in pool if row.label is not None}
        wanted = orders.draw(keys, [row.scores for row in pool], rows, seed)
        released = [
            _joined(held_out[each.key], held_out[each.key].label)
            for each in wanted
            if each.key in held_out
        ]
        unlabelled = [each for each in wanted if each.key not in held_out]
        return Ordered(unlabelled, len(pool), released)

    def _may_be_ordered(self, row: StoredRow, orders: LabelOrders, now: float) -> bool:
        if row.label is not None:
            return orders.held_out(row.key)
        return not orders.drawn_at_random(row.key) and not self._too_old(row, now)

    def expire(self, now: float) -> None:
        """Drop labels that have waited too long, or are too many, and count them."""
        self.expired += self._pending.expire(now)

    def forget(self) -> None:
        """Forget everything; labels of these predictions are late from now on."""
        self._pending.clear()
        self._forget_oldest(len(self._rows))

    @property
    def last_number(self) -> int:
        """The number of the newest entry; later ones have greater numbers."""
        return self._numbers.last

    def forget_requests(self, idents: Collection[str], upto: float = math.inf) -> int:
        """Forget requests; labels of their predictions are late from now on.

        Args:
            idents: the clients' ids.
            upto: what has an entry with a greater number stays.

        Returns:
            How many predictions are gone, and labels that waited for one.
        """
        waiting = self._pending.forget_requests(idents, upto)
        gone = self._rows.forget_requests(idents, upto)
        self._remember(gone)
        return waiting + len(gone.plain) + len(gone.labelled)

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
        return self._rows.changes() + self._pending.changes()

    def entries(self) -> Iterator[Entry]:
        """Yield all entries; predictions and labels may come and go meanwhile."""
        yield from self._rows.entries()
        yield from self._pending.entries()

    def restore_entries(self, entries: Iterable[Entry]) -> None:
        """Take in what `changes` and `entries` have returned, one entry a number.

        Those whose values are of another kind are left out: the model was set up otherwise.
        """
        saved = sorted_out(entries)
        self._numbers.last = max(self._numbers.last, saved.last)
        self._rows.restore(saved, self._kind.holds)
        self._pending.restore(saved.waiting, self._kind)

    def _join(self, row: StoredRow, label: WaitingLabel) -> JoinedRow:
        learned: Mapping[str, str] = label.sensitive
        if learned and row.groups:
            learned = {n: value for n, value in learned.items() if n not in row.groups}
        row.label = KnownLabel(label.truth, self.labelled, learned, label.known_at, label.since)
        self._rows.touch(row)
        self.labelled += 1
        return _joined(row, row.label)

    def _forget_oldest(self, count: int) -> None:
        self._remember(self._rows.forget(count))

    def _remember(self, gone: Forgotten) -> None:
        self._forgotten.add_all(gone.plain)
        self._forgotten.add_labelled(gone.labelled, gone.latest)


def _joined(row: StoredRow, label: KnownLabel | None) -> JoinedRow:
    assert label is not None
    learned = {name: value for name, value in label.learned.items() if value is not None}
    delay = max(label.came - row.timestamp, 0.0)
    return JoinedRow(
        row.predicted, label.truth, learned, label.position, delay, row.key, label.came,
        row.groups, row.scores,
    )  # fmt: skip


def _shown(y_true: Truth) -> str:
    """Return a label as a client may see it again."""
    if isinstance(y_true, bool):
        return "true" if y_true else "false"
    if isinstance(y_true, str):
        return f"the text '{y_true[:40]}'"
    if isinstance(y_true, list):
        return f"a list of {len(y_true)}"
    return f"{y_true}"


def _correct(
    row: StoredRow, kept: KnownLabel, label: LabelEvent, truth: Value, now: float
) -> CorrectedRow | None:
    """Replace a row's label; returns None if nothing about it is new."""
    if label.older_than(kept.known_at):
        return None
    told = {n: value for n, value in label.sensitive_features.items() if n not in row.groups}
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
    # All of them: what is counted by groups follows a truth that changes alone, too.
    forgotten = {name: old for name, old in kept.learned.items() if old is not None}
    kept.truth = truth
    kept.learned = {**kept.learned, **learned}
    learned = {name: value for name, value in kept.learned.items() if value is not None}
    kept.came = max(now, kept.came + TICK_S)
    key = label.request_id, label.index
    return CorrectedRow(
        row.predicted, before, truth, forgotten, learned, kept.position, key, kept.came,
        row.groups, row.scores,
    )  # fmt: skip
