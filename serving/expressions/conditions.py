"""Conditions on columns: `age > 60 and purpose in ['car', 'home'] or debt <= income / 2`.

Three values, as in SQL (Kleene's logic): what compares a missing value is unknown, `not` of it is
too, and `and` and `or` are known where the other side decides alone. `is missing` is always known.
Missing are NaN, None and the empty text, and what is calculated from them; so is what is no finite
number, such as a division by zero.

A number takes the precision of the column that it is compared with: a float32 that was 0.1 is
equal to 0.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from serving.expressions.operands import ColumnKind
from serving.expressions.reader import Reader
from serving.expressions.truth import Judge, Truth


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition that was read.

    Attributes:
        text: as it was written.
        columns: those that it looks at.
    """

    text: str
    columns: frozenset[str]
    _judge: Judge

    def of(self, columns: Mapping[str, np.ndarray]) -> Truth:
        """Judge rows.

        Args:
            columns: [n] by name; numbers, or texts as str or bytes. All that the condition looks
                at are there.

        Raises:
            KeyError: one is not.
        """
        with np.errstate(all="ignore"):
            return self._judge(columns)


def condition(text: str, columns: Mapping[str, ColumnKind]) -> Condition:
    """Read a condition.

    Args:
        text: as a person wrote it.
        columns: that there are, and what is in them.

    Raises:
        ExpressionError: it cannot be read, or it names no column of these, or compares one with
            what it cannot hold.
    """
    reader = Reader(text, columns)
    return Condition(text, frozenset(reader.seen), reader.judge)
