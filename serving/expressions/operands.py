"""What a condition compares: columns, constants, and what is calculated from them.

Each is of a kind, and a function of the columns: of numbers and texts it gives `Values`, of a
condition its `Truth`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import numpy as np

from serving.expressions.truth import Columns, Judge, Truth

ColumnKind = Literal["numbers", "text"]
COMPARED: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal,
    "=": np.equal, "==": np.equal, "!=": np.not_equal,
}  # fmt: skip
_CALCULATED: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide,
}  # fmt: skip


class Values(NamedTuple):
    """Values of n rows.

    Attributes:
        array: [n]; of a constant the float or str itself, so that a number takes the precision of
            the column that it is compared with.
        there: bool [n], which of them are not missing; True for a constant.
    """

    array: Any
    there: Any


class Operand(NamedTuple):
    """A part of a condition.

    Attributes:
        kind: what it gives.
        called: what messages call it.
        of: gives `Values` of columns, or `Truth`.
        constant: its value where it depends on no column.
    """

    kind: Literal["numbers", "text", "condition"]
    called: str
    of: Callable[[Columns], Any]
    constant: float | str | None = None


def constant(value: float | str) -> Operand:
    """Return a number or a text."""
    values = Values(value, True)
    if isinstance(value, str):
        return Operand("text", f"the text '{value}'", lambda _: values, value)
    return Operand("numbers", f"the number {value:.15g}", lambda _: values, value)


def column(name: str, kind: ColumnKind) -> Operand:
    """Return a column; it is missing where it is NaN, None or an empty text."""
    read = _numbers if kind == "numbers" else _texts
    return Operand(kind, f"column '{name}'", lambda columns: read(columns[name]))


def calculated(operator: str, first: Operand, second: Operand) -> Operand:
    """Return a sum, difference, product or quotient of numbers.

    It is missing where one of them is, and where it is no finite number. It has the precision of
    the columns, but that of float32 at least, and float64 with integers.
    """
    calculate = _CALCULATED[operator]

    def values(columns: Columns) -> Values:
        one, other = first.of(columns), second.of(columns)
        found = calculate(_wide(one.array), _wide(other.array))
        return Values(found, _together(one.there, other.there) & np.isfinite(found))

    if first.constant is None or second.constant is None:
        return Operand("numbers", "what is calculated", values)
    with np.errstate(all="ignore"):
        return constant(float(calculate(first.constant, second.constant)))


def compared(operator: str, first: Operand, second: Operand) -> Judge:
    """Return a comparison of two of one kind, at most one of them a constant."""
    compare = COMPARED[operator]

    def judge(columns: Columns) -> Truth:
        one, other = first.of(columns), second.of(columns)
        known = _together(one.there, other.there)
        return Truth(compare(one.array, other.array) & known, known)

    return judge


def among(operand: Operand, options: Sequence[float | str]) -> Judge:
    """Return whether a column, or what is calculated, is one of these constants of its kind."""
    texts = frozenset(options)
    numbers = np.array([each for each in options if not isinstance(each, str)], np.float64)

    def judge(columns: Columns) -> Truth:
        array, known = operand.of(columns)
        if operand.kind == "text":
            true = np.array([each in texts for each in array.tolist()], np.bool_)
        else:
            listed = numbers.astype(array.dtype) if array.dtype.kind == "f" else numbers
            true = (array[:, None] == listed).any(axis=1)
        return Truth(true & known, known)

    return judge


def missing(operand: Operand) -> Judge:
    """Return where there is no value, which is always known."""

    def judge(columns: Columns) -> Truth:
        there = operand.of(columns).there
        return Truth(~there, np.ones(len(there), np.bool_))

    return judge


def _together(one: Any, other: Any) -> Any:
    """Return where both are there; an operation of an array and True would take as long as one."""
    if one is True:
        return other
    return one if other is True else one & other


def _numbers(values: np.ndarray) -> Values:
    if values.dtype.kind in "biu":
        return Values(values, np.ones(len(values), np.bool_))
    numbers = values if values.dtype.kind == "f" else values.astype(np.float64)
    return Values(numbers, numbers == numbers)  # all but NaN


def _texts(values: np.ndarray) -> Values:
    given = values.tolist()
    there = [each is not None and each not in (b"", "") and each == each for each in given]
    texts = np.empty(len(given), np.object_)
    texts[:] = [
        each.decode("utf-8", "replace") if isinstance(each, bytes) else str(each) for each in given
    ]
    return Values(texts, np.array(there, np.bool_))


def _wide(numbers: Any) -> Any:
    """Return numbers as floats whose sums and products do not overflow at once."""
    if isinstance(numbers, float) or numbers.dtype in (np.float32, np.float64):
        return numbers
    return numbers.astype(np.float32 if numbers.dtype == np.float16 else np.float64)
