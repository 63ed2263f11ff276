"""Conditions on columns: `age > 60 and purpose in ['car', 'home'] or income is missing`.

Three values, as in SQL (Kleene's logic): what compares a missing value is unknown, `not` of it is
too, and `and` and `or` are known where the other side decides alone. `is missing` is always known.
Missing are NaN, None and the empty text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import numpy as np

from serving.expressions.tokens import ExpressionError, Token, tokens

ColumnKind = Literal["numbers", "text"]
_COMPARED: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal,
    "=": np.equal, "==": np.equal, "!=": np.not_equal,
}  # fmt: skip
_EQUALS: Final = frozenset({"=", "==", "!="})
_DEEPEST: Final = 20
"""Parentheses, and words `not`, within each other."""


class Truth(NamedTuple):
    """What a condition is of n rows: bool [n] each; what is not known is not true."""

    true: np.ndarray
    known: np.ndarray


_Judge = Callable[[Mapping[str, np.ndarray]], Truth]


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition that was read.

    Attributes:
        text: as it was written.
        columns: those that it looks at.
    """

    text: str
    columns: frozenset[str]
    _judge: _Judge

    def of(self, columns: Mapping[str, np.ndarray]) -> Truth:
        """Judge rows.

        Args:
            columns: [n] by name; numbers, or texts as str or bytes. All that the condition looks
                at are there.

        Raises:
            KeyError: one is not.
        """
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
    reader = _Reader(text, columns)
    return Condition(text, frozenset(reader.seen), reader.judge)


class _Reader:
    """Reads by recursive descent: or, and, not, then a comparison or parentheses."""

    def __init__(self, text: str, columns: Mapping[str, ColumnKind]) -> None:
        self._text, self._columns = text, columns
        self._tokens = tokens(text)
        self._at = self._depth = 0
        self.seen: set[str] = set()
        self.judge = self._or()
        if self._next.kind != "end":
            raise self._wrong(f"'{self._next.value}' is not expected there")

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    def _wrong(self, why: str) -> ExpressionError:
        return ExpressionError(f"'{self._text}': {why}")

    def _takes(self, *words: str) -> bool:
        """Take words that come next; whether they did."""
        coming = self._tokens[self._at : self._at + len(words)]
        if [(each.kind, each.value) for each in coming] != [("operator", word) for word in words]:
            return False
        self._at += len(words)
        return True

    def _take(self) -> Token:
        token = self._next
        self._at += token.kind != "end"
        return token

    def _or(self) -> _Judge:
        judge = self._and()
        while self._takes("or"):
            judge = _either(judge, self._and())
        return judge

    def _and(self) -> _Judge:
        judge = self._not()
        while self._takes("and"):
            judge = _both(judge, self._not())
        return judge

    def _not(self) -> _Judge:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._wrong(f"more than {_DEEPEST} parentheses and words 'not' within each other")
        if self._takes("not"):
            judge = _opposite(self._not())
        elif self._takes("("):
            judge = self._or()
            if not self._takes(")"):
                raise self._wrong("a parenthesis is not closed")
        else:
            judge = self._comparison()
        self._depth -= 1
        return judge

    def _comparison(self) -> _Judge:
        token = self._take()
        if token.kind != "name":
            said = f"'{token.value}' is none" if token.value else "it ends there"
            raise self._wrong(f"a column is expected, and {said}")
        column, kind = token.value, self._columns.get(token.value)
        if kind is None:
            known = ", ".join(f"'{name}'" for name in list(self._columns)[:10]) or "none"
            more = ", …" if len(self._columns) > 10 else ""
            raise self._wrong(f"there is no column '{column}'; there are {known}{more}")
        self.seen.add(column)
        if self._takes("is", "not", "missing"):
            return _opposite(_missing(column))
        if self._takes("is", "missing"):
            return _missing(column)
        if self._takes("not", "in"):
            return _opposite(_among(column, kind, self._values(column, kind)))
        if self._takes("in"):
            return _among(column, kind, self._values(column, kind))
        operator = self._take()
        if operator.kind != "operator" or operator.value not in _COMPARED:
            raise self._wrong(
                f"after column '{column}' one of < <= > >= = != in, 'is missing' is expected"
            )
        if kind == "text" and operator.value not in _EQUALS:
            raise self._wrong(f"column '{column}' holds text, which has no order: use = or in")
        return _compared(column, kind, _COMPARED[operator.value], self._value(column, kind))

    def _value(self, column: str, kind: ColumnKind) -> float | str:
        token = self._take()
        if kind == "text":
            if token.kind == "text":
                return token.value
            raise self._wrong(f"column '{column}' holds text: compare it with one in quotes")
        if token.kind == "number":
            return float(token.value)
        if token.value in ("true", "false") and token.kind == "operator":
            return float(token.value == "true")
        raise self._wrong(f"column '{column}' holds numbers: compare it with one")

    def _values(self, column: str, kind: ColumnKind) -> list[float | str]:
        if not self._takes("["):
            raise self._wrong(f"after '{column} in' a list in brackets is expected")
        found = [self._value(column, kind)]
        while self._takes(","):
            found.append(self._value(column, kind))
        if not self._takes("]"):
            raise self._wrong("a bracket is not closed")
        return found


def _either(one: _Judge, other: _Judge) -> _Judge:
    def judge(columns: Mapping[str, np.ndarray]) -> Truth:
        first, second = one(columns), other(columns)
        true = first.true | second.true
        return Truth(true, true | (first.known & second.known))

    return judge


def _both(one: _Judge, other: _Judge) -> _Judge:
    return _opposite(_either(_opposite(one), _opposite(other)))


def _opposite(one: _Judge) -> _Judge:
    def judge(columns: Mapping[str, np.ndarray]) -> Truth:
        found = one(columns)
        return Truth(found.known & ~found.true, found.known)

    return judge


def _missing(column: str) -> _Judge:
    def judge(columns: Mapping[str, np.ndarray]) -> Truth:
        values = columns[column]
        known = np.ones(len(values), np.bool_)
        return Truth(~_present(values), known)

    return judge


def _compared(
    column: str, kind: ColumnKind, compare: Callable[[Any, Any], Any], value: float | str
) -> _Judge:
    def judge(columns: Mapping[str, np.ndarray]) -> Truth:
        known = _present(columns[column])
        with np.errstate(invalid="ignore"):
            true = np.asarray(compare(_read(columns[column], kind), value), np.bool_)
        return Truth(true & known, known)

    return judge


def _among(column: str, kind: ColumnKind, values: list[float | str]) -> _Judge:
    def judge(columns: Mapping[str, np.ndarray]) -> Truth:
        known = _present(columns[column])
        true = np.isin(_read(columns[column], kind), np.array(values))
        return Truth(true & known, known)

    return judge


def _present(values: np.ndarray) -> np.ndarray:
    """Return which values are there, bool [n]."""
    if values.dtype.kind in "biu":
        return np.ones(len(values), np.bool_)
    if values.dtype.kind == "f":
        there: np.ndarray = ~np.isnan(values)
        return there
    present = [
        each is not None and each not in (b"", "") and each == each for each in values.tolist()
    ]
    return np.array(present, np.bool_)


def _read(values: np.ndarray, kind: ColumnKind) -> np.ndarray:
    """Return values as float64 or texts; those that are missing are anything."""
    if kind == "numbers":
        numbers: np.ndarray = values.astype(np.float64)
        return numbers
    texts = [
        each.decode("utf-8", "replace") if isinstance(each, bytes) else str(each)
        for each in values.tolist()
    ]
    return np.array(texts, np.str_)
