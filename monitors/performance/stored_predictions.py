"""Predictions that may get a label: most of them never get one, and all must cost little."""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np

from monitors.performance.forgotten_keys import Key
from monitors.performance.group_values import Groups, groups_of
from monitors.performance.group_values import restored as restored_groups
from monitors.performance.group_values import saved as saved_groups
from monitors.performance.labels import Value
from monitors.performance.prediction_columns import NO_KEY, PredictionColumns
from monitors.performance.prediction_entries import KEPT, Entry, SavedEntries
from monitors.performance.run_lengths import runs, spread
from monitors.performance.score_column import restored as restored_scores
from monitors.performance.stored_rows import EntryNumbers, KnownLabel, StoredRow

_SPARE: Final = 1 << 14
"""Places of the columns that may hold no row any more, beside as many as hold one."""


class Forgotten(NamedTuple):
    """Keys of predictions that were forgotten, the oldest first.

    Attributes:
        plain: had no label.
        labelled: had one.
        latest: when the latest of the labelled ones was made; -inf: there is none.
    """

    plain: list[Key]
    labelled: list[Key]
    latest: float


class _Span(NamedTuple):
    entry: int
    first: int
    end: int


class StoredPredictions:
    """Keeps predictions by key, in the order in which they came.

    A row that a label or a recall has touched is an object and has an entry of its own. The others
    are places in columns, and an entry holds many of them.
    """

    def __init__(self, numbers: EntryNumbers) -> None:
        self._numbers = numbers
        self._index: dict[Key, int] = {}
        self._rows: dict[int, StoredRow] = {}
        self._recalled: OrderedDict[Key, int] = OrderedDict()
        self._columns = PredictionColumns()
        self._start = 1  # of the rows before it none is kept
        self._left_out: set[int] = set()  # rows from `_start` on that are not kept
        self._spans: deque[_Span] = deque()
        self._untold: list[_Span] = []
        self._unsaved = 1  # the first row that no entry holds
        self._kept_changed = False
        self._changed: dict[int, StoredRow | None] = {}  # by entry; None: it is gone

    def __len__(self) -> int:
        """Number of predictions."""
        return len(self._index)

    def __contains__(self, key: Key) -> bool:
        """Whether the prediction is stored."""
        return key in self._index

    # -- in and out ---------------------------------------------------------------------

    def add(
        self,
        keys: Sequence[Key],
        predicted: Sequence[Value | None],
        timestamp: float,
        groups: Sequence[Groups] | None = None,
        scores: np.ndarray | None = None,
    ) -> int:
        """Store n predictions behind all others; the newest of a key wins.

        Args:
            keys, predicted: n of them.
            timestamp: seconds since the epoch.
            groups, scores: n of them; see `StoredRow`.

        Returns:
            How many of the n replaced another one.

        Raises:
            ValueError: there are not n of each; then nothing was stored.
        """
        index, first = self._index, self._columns.end
        self._columns.add(
            keys,
            predicted,
            itertools.repeat(timestamp),
            groups,
            scores,
        )
        before = len(index)
        index.update(zip(keys, itertools.count(first), strict=False))
        return before + len(keys) - len(index)

    def get(self, key: Key) -> StoredRow | None:
        """Return a prediction; whoever changes it says so by `touch`."""
        number = self._index.get(key)
        if number is None:
            return None
        row = self._rows.get(number)
        return self._columns.row(number) if row is None else row

    def rows(self) -> Iterator[StoredRow]:
        """Yield all predictions; whoever changes one says so by `touch`."""
        for number in tuple(self._index.values()):
            row = self._rows.get(number)
            yield self._columns.row(number) if row is None else row

    def added(self, back: int) -> StoredRow:
        """Return the row that came as the last but `back` - 1, also if another replaced it."""
        number = self._columns.end - back
        return self._rows.get(number) or self._columns.row(number)

    def touch(self, row: StoredRow) -> None:
        """Keep a row as it is now."""
        self._rows[row.number] = row
        if not row.entry:
            row.entry = self._numbers.new()
        self._changed[row.entry] = row

    def recall(
        self,
        key: Key,
        predicted: Value | None,
        timestamp: float,
        groups: Groups,
        scores: list[float] | None = None,
    ) -> None:
        """Store a prediction before all others, in the place of one of its key."""
        earlier = self._recalled.pop(key, None)
        if earlier is not None:
            self._drop_row(earlier)
        before = self._index.get(key)
        if before is not None and before > 0:
            self._drop_row(before)
            self._left_out.add(before)
            self._kept_changed = True
        number = next(iter(self._recalled.values()), 0) - 1
        self._recalled[key] = number
        self._recalled.move_to_end(key, last=False)
        self._index[key] = number
        self.touch(StoredRow(key, number, predicted, timestamp, groups, scores=scores))

    def forget(self, count: int) -> Forgotten:
        """Forget the `count` oldest predictions, and give back what replaced ones hold."""
        found = Forgotten([], [], -math.inf)
        while count > 0 and self._recalled:
            key, number = self._recalled.popitem(last=False)
            if self._index.get(key) == number:
                found = self._forgotten(number, key, found)
                count -= 1
            else:
                self._drop_row(number)
        if count > 0:
            found = self._forget_of_columns(count, found)
            self._forget_spans()
        self._give_back()
        return found

    def forget_requests(self, idents: Collection[str], upto: float = math.inf) -> Forgotten:
        """Forget requests, also what newer ones of their ids have replaced.

        Args:
            idents: the clients' ids.
            upto: rows whose entries have greater numbers stay, but for recalled ones: these were
                made long before.
        """
        self._close_span()
        found = Forgotten([], [], -math.inf)
        for key, number in tuple(self._recalled.items()):
            if key[0] in idents:
                del self._recalled[key]
                found = self._forgotten_if_kept(number, key, found)
        for span in self._spans:
            if span.entry <= upto:
                found = self._forget_in(span, idents, found)
        return found

    def _forget_in(self, span: _Span, idents: Collection[str], found: Forgotten) -> Forgotten:
        first = max(span.first, self._start)
        found_here = self._columns.numbered(first, span.end)
        numbers = [(number, key) for number, key in found_here if key[0] in idents]
        for number, key in numbers:
            self._columns.blank(number)
            found = self._forgotten_if_kept(number, key, found)
            self._left_out.add(number)
        if numbers:
            self._kept_changed = True
            self._untold.append(span)
        return found

    def _forgotten_if_kept(self, number: int, key: Key, found: Forgotten) -> Forgotten:
        if self._index.get(key) == number:
            return self._forgotten(number, key, found)
        self._drop_row(number)
        return found

    def _forget_of_columns(self, count: int, found: Forgotten) -> Forgotten:
        first, columns = self._start, self._columns
        if not self._rows and len(self._index) == columns.end - first:
            keys = [key for _, key in columns.numbered(first, min(first + count, columns.end))]
            deque(map(self._index.__delitem__, keys), maxlen=0)
            found.plain.extend(keys)
            self._start += len(keys)
            return found
        while count > 0 and self._start < columns.end:
            key = columns.keys[self._start - columns.base]
            if self._index.get(key) == self._start:
                found = self._forgotten(self._start, key, found)
                count -= 1
            else:
                self._drop_row(self._start)
                self._left_out.discard(self._start)
            self._start += 1
        return found

    def _forgotten(self, number: int, key: Key, found: Forgotten) -> Forgotten:
        del self._index[key]
        row = self._drop_row(number)
        if row is None or row.label is None:
            found.plain.append(key)
            return found
        found.labelled.append(key)
        return found._replace(latest=max(found.latest, row.timestamp))

    def _drop_row(self, number: int) -> StoredRow | None:
        row = self._rows.pop(number, None)
        if row is not None:
            self._changed[row.entry] = None
        return row

    def _forget_spans(self) -> None:
        self._kept_changed = True
        while self._spans and self._spans[0].end <= self._start:
            self._changed[self._spans.popleft().entry] = None
        self._unsaved = max(self._unsaved, self._start)

    def _give_back(self) -> None:
        """Give back the places of rows that are not kept once they are most of all."""
        kept, columns = len(self._index), self._columns
        most = max(_SPARE, kept)
        if columns.end - self._start - kept > most:  # clients use the same ids again and again
            self._renumber()
        elif self._start - columns.base > most:
            columns.drop_before(self._start)

    def _renumber(self) -> None:
        """Put the rows that are kept into columns, and entries, of their own."""
        numbered = self._columns.numbered(self._start, self._columns.end)
        kept = [number for number, key in numbered if self._index.get(key) == number]
        self._columns = self._columns.only(kept)
        self._start = self._unsaved = self._columns.base
        self._index.update(zip(self._columns.keys, itertools.count(self._start), strict=False))
        moved = dict(zip(kept, itertools.count(self._start), strict=False))
        for number in [number for number in self._rows if number > 0]:
            row = self._rows.pop(number)
            if number in moved:
                row.number = moved[number]
                self._rows[row.number] = row
            self._changed[row.entry] = row if number in moved else None
        for span in self._spans:
            self._changed[span.entry] = None
        self._spans.clear()
        self._untold = []
        self._left_out.clear()
        self._kept_changed = True

    # -- what is saved ------------------------------------------------------------------

    def changes(self) -> list[Entry]:
        """Return the entries that differ from those of the last call: JSON values."""
        self._close_span()
        changed, self._changed = self._changed, {}
        untold, self._untold = self._untold, []
        found = [self._kept()] if self._kept_changed else []
        self._kept_changed = False
        found += [
            self._span_entry(span) for span in dict.fromkeys(untold) if span.end > self._start
        ]
        for entry, row in changed.items():
            found.append((entry,) if row is None else self._own(row) or (entry,))
        return found

    def entries(self) -> Iterator[Entry]:
        """Yield all entries; predictions may come and go meanwhile."""
        self._close_span()
        yield self._kept()
        for span in tuple(self._spans):
            if span.end > self._start:
                yield self._span_entry(span)
        for row in tuple(self._rows.values()):
            if entry := self._own(row):
                yield entry

    def _close_span(self) -> None:
        """Have an entry hold the rows that are in none."""
        end = self._columns.end
        if self._unsaved < end:
            span = _Span(self._numbers.new(), self._unsaved, end)
            self._unsaved = end
            self._spans.append(span)
            self._untold.append(span)

    def _kept(self) -> Entry:
        return (KEPT, self._start, sorted(self._left_out))

    def _span_entry(self, span: _Span) -> Entry:
        first = max(span.first, self._start)
        keys, predicted, times, groups, scores = self._columns.values(first, span.end)
        return (span.entry, keys, first, predicted, runs(times), saved_groups(groups), scores)

    def _own(self, row: StoredRow) -> Entry | None:
        """Return a row's own entry; None if it is not stored any more."""
        if self._index.get(row.key) != row.number:
            return None
        label, scores = row.label, row.scores
        made = (row.entry, *row.key, row.number, row.predicted, row.timestamp, row.groups)
        if label is None:
            return (*made, None, -1, (), None, 0.0, scores)
        learned = label.learned
        return (*made, label.truth, label.position, learned, label.known_at, label.came, scores)

    def restore(self, saved: SavedEntries, holds: Callable[[object], bool]) -> None:
        """Take in what `changes` and `entries` have returned; nothing is stored yet.

        Args:
            saved: entries.
            holds: whether a value is of the kind that the model has now; others are left out.
        """
        self._columns = PredictionColumns(saved.start)
        for span in saved.spans:
            self._restore_span(span)
        columns = self._columns
        self._start, self._unsaved = columns.base, columns.end
        self._left_out.update(number for number in saved.left_out if number >= self._start)
        self._left_out.update(number for number, value in columns.predicted() if not holds(value))
        for number in self._left_out:
            key = columns.keys[number - columns.base]
            if self._index.get(key) == number:
                del self._index[key]
        self._index.pop(NO_KEY, None)
        for entry in saved.rows:  # of those that were recalled the newest first
            if not (holds(entry[4]) and self._restore_row(entry)):
                self._changed[entry[0]] = None
        for entry in saved.earlier:
            self._changed[entry[0]] = None
            if holds(entry[3]):
                self._restore_earlier(entry)

    def _restore_span(self, span: Entry) -> None:
        entry, keys, first, predicted, times, known, *more = span
        columns = self._columns
        if not columns.keys:
            columns.base = max(first, columns.base)
        # The place of a row tells its number, so one that is missing leaves its place empty.
        missing = max(first - columns.end, 0)
        columns.add([NO_KEY] * missing, [None] * missing, itertools.repeat(0.0))
        begin, cut = columns.end, columns.end - first
        kept = [(ident, index) for ident, index in keys[cut:]]
        groups = restored_groups(known)[cut:]
        scores = restored_scores(more[0]) if more else None
        columns.add(
            kept,
            predicted[cut:],
            itertools.islice(spread(times), cut, None),
            groups,
            scores=None if scores is None else scores[cut:],
        )
        self._index.update(zip(kept, itertools.count(begin), strict=False))
        self._spans.append(_Span(entry, first, columns.end))

    def _restore_row(self, entry: Entry) -> bool:
        """Restore a row with an entry of its own; returns whether it is stored still."""
        number, ident, index, place, predicted, timestamp, known, truth, *of_label = entry
        key = (ident, index)
        position, learned, known_at, came, *scores = of_label
        row = StoredRow(key, place, predicted, timestamp, groups_of(known), entry=number)
        row.scores = scores[0] if scores else None
        if truth is not None:
            row.label = KnownLabel(truth, position, groups_of(learned), known_at, came)
        if place < 0 and key not in self._index:
            self._index[key] = place
            self._recalled[key] = place
        if self._index.get(key) != place:
            return False
        self._rows[place] = row
        return True

    def _restore_earlier(self, entry: Entry) -> None:
        """Store a row as one that comes now; it gets entries as rows have them now."""
        number, ident, index, predicted, timestamp, known, truth, *of_label = entry
        key = (ident, index)
        if number < 0:
            self.recall(key, predicted, timestamp, groups_of(known))
        else:
            self.add([key], [predicted], timestamp, [groups_of(known)])
        if truth is not None:
            position, learned, known_at = of_label or (-1, (), None)
            row = self.get(key)
            assert row is not None, "it was stored now"
            row.label = KnownLabel(truth, position, groups_of(learned), known_at)
            self.touch(row)
