"""Labels that came before their predictions."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from monitors.performance.forgotten_keys import Key
from monitors.performance.label_kinds import LabelKind
from monitors.performance.labels import LabelEvent, Value
from monitors.performance.prediction_entries import Entry
from monitors.performance.stored_rows import EntryNumbers


@dataclass(frozen=True, slots=True)
class WaitingLabel:
    """A label, and when it came.

    Attributes:
        entry: number of its entry.
        truth: its value.
        sensitive: attributes that came with it and with labels of this row before.
        since: seconds since the epoch when it came.
        known_at: seconds since the epoch when it became known, where that was told.
    """

    entry: int
    truth: Value
    sensitive: Mapping[str, str]
    since: float
    known_at: float | None = None


class WaitingLabels:
    """Keeps labels until their predictions come, for a while.

    Args:
        numbers: of entries.
        most: labels kept; the oldest go first.
        ttl_s: seconds for which one is kept.
    """

    def __init__(self, numbers: EntryNumbers, most: int, ttl_s: float) -> None:
        self._numbers = numbers
        self._most, self._ttl_s = most, ttl_s
        self._labels: OrderedDict[Key, WaitingLabel] = OrderedDict()
        self._changed: dict[int, Key] = {}  # by entry

    def __len__(self) -> int:
        """Number of labels."""
        return len(self._labels)

    def add(self, key: Key, label: LabelEvent, truth: Value, now: float) -> bool:
        """Keep a label; returns False if it was there or is out of date."""
        before = self._labels.get(key)
        if before is not None and label.older_than(before.known_at):
            return False
        self.take(key)
        sensitive = {**(before.sensitive if before else {}), **label.sensitive_features}
        entry = self._numbers.new()
        self._labels[key] = WaitingLabel(entry, truth, sensitive, now, label.timestamp)
        self._changed[entry] = key
        return before is None or before.truth != truth

    def take(self, key: Key) -> WaitingLabel | None:
        """Return a label and keep it no more; None: there is none."""
        waiting = self._labels.pop(key, None)
        if waiting is not None:
            self._changed[waiting.entry] = key
        return waiting

    def expire(self, now: float) -> int:
        """Drop labels that have waited too long, or are too many; returns how many."""
        dropped = 0
        while self._labels:
            key, waiting = next(iter(self._labels.items()))
            if now - waiting.since <= self._ttl_s and len(self._labels) <= self._most:
                break
            self.take(key)
            dropped += 1
        return dropped

    def clear(self) -> None:
        """Drop all."""
        for key in tuple(self._labels):
            self.take(key)

    def forget_requests(self, idents: Collection[str], upto: float) -> int:
        """Drop labels of requests whose entries have numbers up to that; returns how many."""
        gone = [
            key for key, label in self._labels.items() if key[0] in idents and label.entry <= upto
        ]
        for key in gone:
            self.take(key)
        return len(gone)

    # -- what is saved ------------------------------------------------------------------

    def changes(self) -> list[Entry]:
        """Return the entries that differ from those of the last call."""
        changed, self._changed = self._changed, {}
        return [self._entry(key, entry) or (entry,) for entry, key in changed.items()]

    def entries(self) -> Iterator[Entry]:
        """Yield all entries; labels may come and go meanwhile."""
        for key, label in tuple(self._labels.items()):
            entry = self._entry(key, label.entry)
            if entry is not None:
                yield entry

    def restore(self, entries: Iterable[Entry], kind: LabelKind) -> None:
        """Take in what was saved, in the order in which labels came; others' kinds are left out."""
        for number, ident, index, truth, since, *more in entries:
            if kind.holds(truth):
                # Earlier releases saved no sensitive values, and before that no time either.
                told = more[0] if more else None
                known_at, sensitive = told if isinstance(told, list | tuple) else (told, {})
                self._labels[ident, index] = WaitingLabel(number, truth, sensitive, since, known_at)

    def _entry(self, key: Key, entry: int) -> Entry | None:
        waiting = self._labels.get(key)
        if waiting is None or waiting.entry != entry:
            return None
        told = [waiting.known_at, waiting.sensitive]
        return (entry, *key, waiting.truth, waiting.since, told)
