"""Checks of single values of a column: is it there, of the right type, allowed, in range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from monitors.reference.categorical_column import CategoricalColumn, as_text
from monitors.reference.column_quality import ColumnQuality, as_values, is_integral

COMPLETENESS: Final = "completeness"
DATA_TYPE: Final = "data_type"
CATEGORICAL_VALUES: Final = "categorical_values"
RANGE: Final = "range"
CHECKS: Final = (COMPLETENESS, DATA_TYPE, CATEGORICAL_VALUES, RANGE)


@dataclass(frozen=True, slots=True)
class Expected:
    """What is expected of a column.

    Attributes:
        quality: what the reference's values were like.
        categorical: the reference's categories; None of numbers and free text.
        allowed: values that are declared; None: those that the reference had.
        low, high: numbers that are declared; None: those of the reference.
    """

    quality: ColumnQuality
    categorical: CategoricalColumn | None = None
    allowed: Sequence[str] | None = None
    low: float | None = None
    high: float | None = None
    checks: tuple[str, ...] = field(init=False)
    _allowed: frozenset[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        checks = [COMPLETENESS]
        if self.quality.data_type in ("Integral", "Fractional"):
            checks.append(DATA_TYPE)
        known = self.categorical is not None and self.categorical.known is not None
        if self.allowed is not None or known:
            checks.append(CATEGORICAL_VALUES)
        if None not in self.limits:
            checks.append(RANGE)
        object.__setattr__(self, "checks", tuple(checks))
        object.__setattr__(self, "_allowed", frozenset(self.allowed or ()))

    @property
    def rows(self) -> int:
        """Rows of the reference."""
        return self.quality.n + self.quality.missing

    @property
    def limits(self) -> tuple[float | None, float | None]:
        """Least and largest number that is in range."""
        low = self.quality.low if self.low is None else self.low
        return low, self.quality.high if self.high is None else self.high

    def violated(self, check: str) -> tuple[int, int]:
        """Return how many rows of the reference a check was made of, and how many failed it."""
        quality = self.quality
        if check == COMPLETENESS:
            return self.rows, quality.missing
        if check == DATA_TYPE:
            return quality.n, quality.n - quality.of_type
        if check == CATEGORICAL_VALUES and self.allowed is None:
            assert self.categorical is not None
            return quality.n, int(self.categorical.counts[-2])
        # A value that a reference did not have lies beyond one of its ends twice in n rows.
        return quality.n, 0 if check == CATEGORICAL_VALUES else 2

    def unknown(self, text: str) -> bool:
        """Whether a text is none of the values that are expected."""
        if self.allowed is not None:
            return text not in self._allowed
        assert self.categorical is not None
        assert self.categorical.known is not None
        return text not in self.categorical.known

    def to_dict(self) -> dict[str, Any]:
        """Return what tells it from others, as JSON values."""
        allowed = None if self.allowed is None else list(self.allowed)
        return {"quality": self.quality.to_dict(), "limits": self.limits, "allowed": allowed}


def violations(expected: Expected, values: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return for each check on which values it is made, and which violate it, bool [n] each.

    Args:
        expected: of the column.
        values: of a batch, [n].
    """
    numbers, missing = as_values(values)
    present = ~missing
    found = {COMPLETENESS: (np.ones(len(values), np.bool_), missing)}
    if DATA_TYPE in expected.checks:
        integral = expected.quality.data_type == "Integral"
        fits = is_integral(numbers) if integral else ~np.isnan(numbers)
        found[DATA_TYPE] = (present, present & ~fits)
    if CATEGORICAL_VALUES in expected.checks:
        texts = map(as_text, values.tolist())
        unknown = np.array([bool(text) and expected.unknown(str(text)) for text in texts])
        found[CATEGORICAL_VALUES] = (present, present & unknown.astype(np.bool_))
    if RANGE in expected.checks:
        low, high = expected.limits
        outside = (numbers < low) | (numbers > high)
        found[RANGE] = (present, outside)
    return found


class NumberChecks:
    """Makes the checks of many numeric columns at once.

    Args:
        expected: of the columns, by name; each has a type of numbers.

    Attributes:
        names: of the columns, c of them.
        checks: those that are made, in the order of what `violations` returns.
    """

    checks = (COMPLETENESS, DATA_TYPE, RANGE)

    def __init__(self, expected: Mapping[str, Expected]) -> None:
        self.names = [name for name, each in expected.items() if of_numbers(each)]
        kept = [expected[name] for name in self.names]
        integral = [each.quality.data_type == "Integral" for each in kept]
        self._integral = np.flatnonzero(np.array(integral, np.bool_))
        limits = np.array([each.limits for each in kept], np.float64).reshape(len(kept), 2)
        self._low, self._high = limits[:, :1], limits[:, 1:]

    def violations(self, columns: Mapping[str, np.ndarray], rows: int) -> np.ndarray:
        """Return what violates each check, bool [checks, c, rows]; nothing of absent columns.

        Args:
            columns: values of the batch by name; of these names they are numbers.
            rows: of the batch.
        """
        values = np.zeros((len(self.names), rows))
        for at, name in enumerate(self.names):
            if name in columns:
                values[at] = columns[name]
        found = np.zeros((len(self.checks), *values.shape), np.bool_)
        np.isnan(values, out=found[0])
        of_whole = values[self._integral]
        found[1, self._integral] = (np.floor(of_whole) != of_whole) & ~found[0, self._integral]
        found[1, self._integral] |= np.isinf(of_whole)
        found[2] = (values < self._low) | (values > self._high)
        return found


def of_numbers(expected: Expected) -> bool:
    """Whether a column has the checks of numbers, and no others."""
    return expected.checks == (COMPLETENESS, DATA_TYPE, RANGE)
