"""Of what type a column's values are, how complete it is, and between what its numbers lie.

The vocabulary is that of Amazon SageMaker Model Monitor's `statistics.json`.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import numpy as np

from monitors.reference.categorical_column import as_text

DataType = Literal["Integral", "Fractional", "String", "Unknown"]

_USUAL: Final = 0.95
"""Share of values that a type needs to be that of the column."""


@dataclass(frozen=True, slots=True)
class ColumnQuality:
    """What a column's values were like.

    Attributes:
        data_type: the narrowest of `Integral`, `Fractional` and `String` that nearly all values
            are of; `Unknown` without any value.
        n: values that are there.
        of_type: how many of these are of that type.
        missing: rows without a value.
        low, high: least and largest finite number; None of text.
    """

    data_type: DataType
    n: int
    of_type: int
    missing: int
    low: float | None
    high: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> ColumnQuality:
        """Return what `to_dict` was called on.

        Raises:
            TypeError: it has other fields.
        """
        return cls(**raw)


def quality_of(values: np.ndarray) -> ColumnQuality:
    """Return what values [n] are like; empty text counts as missing."""
    numbers, missing = as_values(values)
    present = int((~missing).sum())
    if not present:
        return ColumnQuality("Unknown", 0, 0, len(values), None, None)
    integral = int(is_integral(numbers).sum())
    numeric = int((~np.isnan(numbers)).sum())
    finite = numbers[np.isfinite(numbers)]
    least = _USUAL * present
    kind: DataType = "String"
    of_type = present
    if integral >= least:
        kind, of_type = "Integral", integral
    elif numeric >= least:
        kind, of_type = "Fractional", numeric
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (None, None)
    if kind == "String":
        low = high = None
    return ColumnQuality(kind, present, of_type, len(values) - present, low, high)


def as_values(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return values as numbers, float64 [n], NaN of text; and which are missing, bool [n]."""
    if values.dtype.kind in "biuf":
        numbers = values.astype(np.float64, copy=False)
        return numbers, np.isnan(numbers)
    texts = [as_text(value) or None for value in values.tolist()]
    missing = np.array([text is None for text in texts], np.bool_)
    return np.array([_number(text) for text in texts], np.float64), missing


def is_integral(numbers: np.ndarray) -> np.ndarray:
    """Return which numbers are whole, bool [n]."""
    whole: np.ndarray = np.isfinite(numbers) & (np.floor(numbers) == numbers)
    return whole


def _number(text: str | None) -> float:
    try:
        return math.nan if text is None else float(text)
    except ValueError:
        return math.nan
