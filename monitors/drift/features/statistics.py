"""Statistics of one value of a row, as functions of the bin that the value falls in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from monitors.reference.categorical_column import CategoricalColumn
from monitors.reference.numeric_column import NumericColumn, tail_share
from monitors.reference.row_codes import Track

LOCATION: Final = "location"
SPREAD: Final = "spread"
LOW_TAIL: Final = "low tail"
HIGH_TAIL: Final = "high tail"
OUTSIDE: Final = "outside the reference's range"
MISSING: Final = "missing"
INFINITE: Final = "infinite"
UNSEEN: Final = "unseen"

MOST_VALUES: Final = 12
"""Different values up to which the share of each is watched, and neither spread nor tails."""

_HALF: Final = 0.5
_BOTH_ENDS: Final = 2.0
"""Expected reference rows beyond the two ends of its range: one more row is beyond an end with
probability 1 / (n + 1) each."""


@dataclass(frozen=True, slots=True)
class Statistic:
    """One number in [0, 1] of every row, given by the bin of its value.

    Attributes:
        name: what moves when it does, in words.
        bins: bins of the track in which it is not zero, int64 [e].
        values: what it is there, float64 [e].
        of_missing: whether it is defined on rows without a value, too.
        share: whether it is 0 or 1.
        prior: rows that are added to those that the reference has with it, so that what it never
            had is not held for impossible; of a share.
    """

    name: str
    bins: np.ndarray
    values: np.ndarray
    of_missing: bool = False
    share: bool = True
    prior: float = _HALF


def statistics(track: Track) -> list[Statistic]:
    """Return what is watched of one value of a row."""
    if isinstance(track.bins, CategoricalColumn):
        return list(_categorical(track.bins))
    if track.measure == "unseen words":
        return [_rank(track.measure, track.bins)] if _present(track.bins) else []
    found = list(_numeric(track.bins))
    if not track.measure:
        return found
    names = {LOCATION: track.measure, SPREAD: f"spread of {track.measure}"}
    return [_named(each, names.get(each.name, each.name)) for each in found]


def _named(each: Statistic, name: str) -> Statistic:
    return Statistic(name, each.bins, each.values, each.of_missing, each.share, each.prior)


def _shares(name: str, bins: Sequence[int] | np.ndarray, prior: float = _HALF) -> Statistic:
    at = np.array(bins, np.int64)
    return Statistic(name, at, np.ones(len(at)), of_missing=name == MISSING, prior=prior)


def _present(column: NumericColumn) -> bool:
    return bool(column.counts[:-1].any())


def _rank(name: str, column: NumericColumn) -> Statistic:
    return Statistic(name, np.arange(column.bins - 1), column.midranks()[:-1], share=False)


def _numeric(column: NumericColumn) -> Iterator[Statistic]:
    last = column.bins - 1
    yield _shares(MISSING, [last])
    yield _shares(INFINITE, [0, last - 1])
    if not _present(column):
        return
    counts = column.counts[1 : last - 1]  # of finite values
    filled = np.flatnonzero(counts) + 1
    if len(filled) > 1:
        yield _rank(LOCATION, column)
    if 2 < len(filled) <= MOST_VALUES:
        yield from (_shares(_between(column, at), [at]) for at in filled.tolist())
    if len(filled) > MOST_VALUES:
        ranks = column.midranks()[:-1]
        yield Statistic(SPREAD, np.arange(last), np.abs(ranks - 0.5) * 2, share=False)
        yield from _tails(counts)
    if len(filled):
        ends = np.concatenate((np.arange(1, filled[0]), np.arange(filled[-1] + 1, last - 1)))
        if len(ends):
            yield _shares(OUTSIDE, ends, _BOTH_ENDS)


def _tails(counts: np.ndarray) -> Iterator[Statistic]:
    rows = int(counts.sum())
    most = 2 * tail_share(rows) * rows
    for name, inward in ((LOW_TAIL, counts), (HIGH_TAIL, counts[::-1])):
        beyond = np.flatnonzero(np.cumsum(inward) <= most)
        if inward[beyond].any():
            yield _shares(name, beyond + 1 if name == LOW_TAIL else len(counts) - beyond)


def _between(column: NumericColumn, at: int) -> str:
    """Name the bin of finite values with this number."""
    edges = column.edges
    if at > len(edges):
        return f"share of values above {edges[-1]:.4g}" if len(edges) else "share of values"
    low, high = edges[at - 2] if at > 1 else -np.inf, edges[at - 1]
    return f"share of values from {low:.4g} to {high:.4g}"


def _categorical(column: CategoricalColumn) -> Iterator[Statistic]:
    own = len(column.categories)
    yield _shares(MISSING, [column.bins - 1])
    if not own and column.known is None:
        return  # nothing but other values, now and then
    for at, label in enumerate(column.labels[:own]):
        yield _shares(f"share of '{label}'", [at])
    for at in range(own, own + column.buckets):
        if column.counts[at] or column.known is None:
            yield _shares(f"share of {column.labels[at]}", [at])
    if column.known is not None:
        yield _shares(UNSEEN, [column.bins - 2])
