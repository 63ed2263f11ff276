"""How stored predictions and waiting labels are written down: entries of JSON values.

An entry begins with its number, and replaces the earlier one of that number; a number alone takes
it away. Behind the number stands, of

- what is kept: the first row that is, rows after it that are not. Its number is 0.
- rows in columns: keys, the first row, what was predicted, `[time, rows]`, sensitive values that
  came with requests, scores of classes
- a row with an entry of its own: id, index, row, predicted, time, sensitive values, truth,
  position, attributes learned, when it became known, when it came, scores
- a label that waits: id, index, truth, since when, [when it became known, sensitive values]

Before there were scores, names stood where sensitive values stand now, and nothing behind them.
Earlier releases had an entry for each row, by its number: id, index, predicted, time, names, truth,
position, attributes learned, when it became known.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from monitors.performance import group_values, score_column
from monitors.performance.forgotten_keys import Key

Entry = Sequence[Any]
"""What is saved of predictions or a waiting label: its number first, alone when it is gone."""

KEPT: Final = 0
"""Number of the entry that says which rows are kept."""
_WAITING, _OWN = (5, 6), (12, 13)
"""Values of an entry."""


@dataclass(slots=True)
class SavedEntries:
    """Entries by what they hold.

    Attributes:
        start: the first row that is kept.
        left_out: rows after it that are not.
        spans: rows in columns, in their order.
        rows: rows with an entry of their own, in their order.
        waiting: labels that wait, in the order in which they came.
        earlier: rows as earlier releases saved them, in their order.
        last: the highest number.
    """

    start: int = 1
    left_out: Sequence[int] = ()
    spans: list[Entry] = field(default_factory=list)
    rows: list[Entry] = field(default_factory=list)
    waiting: list[Entry] = field(default_factory=list)
    earlier: list[Entry] = field(default_factory=list)
    last: int = KEPT


def sorted_out(entries: Iterable[Entry]) -> SavedEntries:
    """Return entries by what they hold; no two have one number."""
    found = SavedEntries()
    for entry in entries:
        found.last = max(found.last, entry[0])
        if isinstance(entry[1], int):
            _, found.start, found.left_out = entry
        elif isinstance(entry[1], str):
            size = len(entry)
            kind = found.waiting if size in _WAITING else found.rows if size in _OWN else None
            (found.earlier if kind is None else kind).append(entry)
        else:
            found.spans.append(entry)
    found.spans.sort(key=lambda entry: entry[2])
    found.rows.sort(key=lambda entry: entry[3])
    for of_number in (found.waiting, found.earlier):
        of_number.sort(key=lambda entry: entry[0])
    return found


def prediction_keys(entries: Iterable[Entry]) -> Iterator[Key]:
    """Yield the keys of the predictions among saved entries, each at least once."""
    saved = sorted_out(entries)
    for span in saved.spans:
        yield from ((ident, index) for ident, index in span[1])
    for _, ident, index, *_ in (*saved.rows, *saved.earlier):
        yield ident, index


def is_of(entry: Entry, idents: Collection[str]) -> bool:
    """Whether an entry holds something of a request with one of these ids."""
    held = entry[1] if len(entry) > 1 else None
    if isinstance(held, str):
        return held in idents
    return isinstance(held, list) and any(ident in idents for ident, _ in held)


def without(entries: Iterable[Entry], idents: Collection[str]) -> tuple[list[Entry], int]:
    """Take out what entries hold of requests.

    Args:
        entries: of one owner.
        idents: the clients' ids of the requests.

    Returns:
        What is left of the entries, and how many predictions and waiting labels are gone.
    """
    kept: list[Entry] = []
    gone: set[Key] = set()
    for entry in entries:
        if not is_of(entry, idents):
            kept.append(entry)
        elif isinstance(entry[1], str):
            gone.add((entry[1], entry[2]))
        else:
            number, keys, first, predicted, times, groups, *scores = entry
            out = [ident in idents for ident, _ in keys]
            gone.update((ident, index) for ident, index in keys if ident in idents)
            # The places of the others tell which rows they are, so these are left, and empty.
            keys = [["", -1] if each else key for key, each in zip(keys, out, strict=True)]
            predicted = [None if each else it for it, each in zip(predicted, out, strict=True)]
            groups = group_values.without_rows(groups, out)
            scores = [score_column.without_rows(each, out) for each in scores]
            kept.append((number, keys, first, predicted, times, groups, *scores))
    return kept, len(gone)
