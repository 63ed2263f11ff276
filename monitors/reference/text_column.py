"""Bins of a column of free text: its length, and how much of it the reference never had."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from monitors.reference.categorical_column import as_text
from monitors.reference.known_values import SLOTS, KnownValues, slot
from monitors.reference.numeric_column import NumericColumn, fit_bins, fit_numeric

MOST_TOKENS: Final = 64
"""Words of a text that are looked at, from its beginning."""

_SHARES: Final = np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 0.999])


@dataclass(frozen=True, slots=True)
class TextColumn:
    """Bins of one column of text that has no categories.

    Attributes:
        length: bins of the number of characters.
        unseen: bins of the share of a text's words that the reference does not have. Of a
            reference row it is the share that no other row has.
        known: which words the reference has.
    """

    length: NumericColumn
    unseen: NumericColumn
    known: KnownValues

    @property
    def bins(self) -> int:
        """Number of bins, of both together."""
        return self.length.bins + self.unseen.bins

    def measured(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return length and unseen share of each value, float64 [n]; NaN where it is missing."""
        texts = [as_text(value) for value in values.tolist()]
        used = self.known.used
        unseen = [_share([not used[at] for at in slots]) for slots in map(_slots, texts)]
        return _lengths(texts), np.array(unseen, np.float64)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "length": self.length.to_dict(),
            "unseen": self.unseen.to_dict(),
            "known": self.known.to_text(),
        }

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> TextColumn:
        """Return the column that `to_dict` was called on."""
        return cls(
            NumericColumn.from_dict(raw["length"]),
            NumericColumn.from_dict(raw["unseen"]),
            KnownValues.from_text(raw["known"]),
        )


def fit_text(texts: Sequence[str | None], max_bins: int) -> TextColumn:
    """Return bins of texts, and how many fall in each; None is a missing one."""
    rows: Counter[int] = Counter()  # of a slot
    for text in texts:
        rows.update(set(_slots(text)))
    alone = [_share([rows[at] == 1 for at in _slots(text)]) for text in texts]
    used = np.zeros(SLOTS, dtype=np.bool_)
    used[list(rows)] = True
    return TextColumn(
        fit_numeric(_lengths(texts), max_bins),
        fit_bins(np.array(alone, np.float64), _SHARES),
        KnownValues(used),
    )


def _slots(text: str | None) -> Iterator[int]:
    return map(slot, (text or "").split(None, MOST_TOKENS)[:MOST_TOKENS])


def _share(flags: list[Any]) -> float:
    return sum(flags) / len(flags) if flags else np.nan


def _lengths(texts: Sequence[str | None]) -> np.ndarray:
    return np.array([np.nan if text is None else len(text) for text in texts], np.float64)
