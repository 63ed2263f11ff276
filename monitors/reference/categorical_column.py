"""Bins of a categorical column: frequent values, the rest, values never seen, missing ones."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from monitors.reference.known_values import BUCKETS, KnownValues, bucket, slot

OWN_BIN_ROWS: Final = 20
_MANY_VALUES: Final = 100
_MOST_CACHED: Final = 4096
_LONGEST_CACHED: Final = 200


@dataclass(frozen=True, slots=True)
class CategoricalColumn:
    """Bins of one categorical column: one per category | the rest | unseen | missing.

    Rare values of the reference are not kept: they may identify somebody. The rest has one bin,
    or with many values 16 by hash. Whether a value was seen at all is known by its hash alone;
    the bin of unseen ones holds the reference rows whose value no other row has, because a row
    of the stream is as new to the reference as one of these is to all others (Good and Turing).

    Attributes:
        categories: values with a bin of their own, most frequent first.
        counts: reference rows per bin, int64 [bins].
        buckets: bins of the rest.
        known: which values the reference had; None: it was made when nobody kept it, and has no
            bin of unseen values.
    """

    categories: tuple[str, ...]
    counts: np.ndarray
    buckets: int = 1
    known: KnownValues | None = None
    _codes: dict[str, int] = field(init=False, repr=False, compare=False)
    _cached: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_codes", {c: i for i, c in enumerate(self.categories)})
        object.__setattr__(self, "_cached", {})

    @property
    def bins(self) -> int:
        """Number of bins."""
        return len(self.categories) + self.buckets + (self.known is not None) + 1

    def codes(self, values: np.ndarray) -> np.ndarray:
        """Return the bin of each value; bytes, text, numbers or None [n] in, int64 [n] out."""
        codes, cached, missing = self._codes, self._cached, self.bins - 1
        given = values.tolist()
        # Most values are texts with a bin of their own, for which there is no loop.
        found = np.array(
            [codes.get(value, -1) if type(value) is str else -1 for value in given], np.int64
        )
        for at in np.flatnonzero(found < 0).tolist():
            text = as_text(given[at])
            if text is None:
                found[at] = missing
                continue
            code = codes.get(text)
            if code is None:
                code = cached.get(text)
            found[at] = self._of_the_rest(text) if code is None else code
        return found

    def _of_the_rest(self, text: str) -> int:
        first = len(self.categories)
        if self.known is not None and text not in self.known:
            code = first + self.buckets
        else:
            code = first + (bucket(text) if self.buckets > 1 else 0)
        if len(self._cached) >= _MOST_CACHED:
            self._cached.clear()
        if len(text) <= _LONGEST_CACHED:
            self._cached[text] = code
        return code

    @property
    def labels(self) -> list[str]:
        """What the bins are called."""
        rest = [f"other {at + 1}" for at in range(self.buckets)] if self.buckets > 1 else ["other"]
        return [*self.categories, *rest, *(["unseen"] if self.known else []), "missing"]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        found = {"categories": list(self.categories), "counts": self.counts.tolist()}
        if self.known is None:
            return found
        return {**found, "buckets": self.buckets, "known": self.known.to_text()}

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> CategoricalColumn:
        """Return the column that `to_dict` was called on."""
        counts = np.array(raw["counts"], dtype=np.int64)
        known = KnownValues.from_text(raw["known"]) if "known" in raw else None
        return cls(tuple(raw["categories"]), counts, int(raw.get("buckets", 1)), known)


def as_text(value: object) -> str | None:
    """Return a value as the text that it is compared as; None where it is missing."""
    if value is None or value != value:  # NaN is the one value that differs from itself
        return None
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def fit_categorical(seen: Counter[str], missing: int, max_bins: int) -> CategoricalColumn:
    """Return bins of values, and how many rows fall in each.

    Args:
        seen: rows of each value.
        missing: rows without one.
        max_bins: most categories with a bin of their own.
    """
    ranked = sorted(seen, key=lambda text: (-seen[text], text))
    # A category that was picked for being frequent is less so in new data, which would look like
    # drift. At 5 rows a test of its share is wrong by half on heavy tails, at 20 hardly at all.
    own = tuple(text for text in ranked[:max_bins] if seen[text] >= OWN_BIN_ROWS)
    rest = ranked[len(own) :]
    buckets = BUCKETS if len(rest) >= _MANY_VALUES else 1
    in_slot: Counter[int] = Counter()
    for text in ranked:
        in_slot[slot(text)] += seen[text]
    counts = np.zeros(len(own) + buckets + 2, dtype=np.int64)
    counts[: len(own)] = [seen[text] for text in own]
    counts[-1] = missing
    for text in rest:
        at = len(own) + (bucket(text) if buckets > 1 else 0)
        alone = in_slot[slot(text)] == 1
        counts[-2 if alone else at] += seen[text]
    return CategoricalColumn(own, counts, buckets, KnownValues.of(ranked))
