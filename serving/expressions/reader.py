"""Reads a condition by recursive descent: or, and, not, comparison, sum, product, sign."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from serving.expressions.operands import (
    COMPARED,
    ColumnKind,
    Operand,
    among,
    calculated,
    column,
    compared,
    constant,
    missing,
)
from serving.expressions.tokens import ExpressionError, Token, tokens
from serving.expressions.truth import Judge, both, either, opposite

_EQUALS: Final = frozenset({"=", "==", "!="})
_DEEPEST: Final = 20
"""Parentheses, and words `not`, within each other."""
_MOST_CALCULATIONS: Final = 100
_BEGINNINGS: Final = frozenset({"(", "-", "+", "true", "false"})
"""Operators with which something begins that can be compared."""


class Reader:
    """Reads one condition.

    Args:
        text: as a person wrote it.
        columns: that there are, and what is in them.

    Attributes:
        judge: what it says.
        seen: the columns that it looks at.

    Raises:
        ExpressionError: it is none.
    """

    def __init__(self, text: str, columns: Mapping[str, ColumnKind]) -> None:
        self._text, self._columns = text, columns
        self._tokens = tokens(text)
        self._at = self._depth = self._calculations = 0
        self.seen: set[str] = set()
        self.judge = self._judge(self._or())
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

    def _judge(self, operand: Operand) -> Judge:
        """Return what must be a condition."""
        if operand.kind != "condition":
            raise self._wrong(
                f"after {operand.called} one of < <= > >= = != in, 'is missing' is expected"
            )
        judge: Judge = operand.of
        return judge

    def _or(self) -> Operand:
        return self._joined("or", self._and, either)

    def _and(self) -> Operand:
        return self._joined("and", self._not, both)

    def _joined(
        self, word: str, part: Callable[[], Operand], join: Callable[[list[Judge]], Judge]
    ) -> Operand:
        first = part()
        if (self._next.kind, self._next.value) != ("operator", word):
            return first
        judges = [self._judge(first)]
        while self._takes(word):
            judges.append(self._judge(part()))
        return _condition(join(judges))

    def _not(self) -> Operand:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._wrong(f"more than {_DEEPEST} parentheses and words 'not' within each other")
        if self._takes("not"):
            found = _condition(opposite(self._judge(self._not())))
        else:
            found = self._comparison()
        self._depth -= 1
        return found

    def _comparison(self) -> Operand:
        """Read a comparison; or only what could be compared, as stands in parentheses."""
        first = self._sum()
        if first.kind == "condition":
            return first
        if self._takes("is", "not", "missing"):
            return _condition(opposite(missing(self._dependent(first))))
        if self._takes("is", "missing"):
            return _condition(missing(self._dependent(first)))
        if self._takes("not", "in"):
            return _condition(opposite(among(self._dependent(first), self._options(first))))
        if self._takes("in"):
            return _condition(among(self._dependent(first), self._options(first)))
        if self._next.kind != "operator" or self._next.value not in COMPARED:
            return first
        operator = self._take().value
        second = self._second(first, operator)
        return _condition(compared(operator, first, second))

    def _second(self, first: Operand, operator: str) -> Operand:
        """Read what something is compared with."""
        if first.kind == "text" and operator not in _EQUALS:
            raise self._wrong(f"{first.called} holds text, which has no order: use = or in")
        token = self._next
        if token.kind == "end" or (token.kind == "operator" and token.value not in _BEGINNINGS):
            raise self._other_kind(first)
        second = self._sum()
        if second.kind != first.kind:
            raise self._other_kind(first)
        if first.constant is not None:
            self._dependent(second)
        return second

    def _other_kind(self, first: Operand) -> ExpressionError:
        if first.kind == "text":
            return self._wrong(
                f"{first.called} holds text: compare it with one in quotes, or a column of text"
            )
        return self._wrong(
            f"{first.called} holds numbers: compare it with one, or a column of numbers"
        )

    def _dependent(self, operand: Operand) -> Operand:
        """Return what must depend on a column."""
        if operand.constant is not None:
            raise self._wrong(f"a column is expected beside {operand.called}")
        return operand

    def _options(self, operand: Operand) -> list[float | str]:
        if not self._takes("["):
            raise self._wrong("after 'in' a list in brackets is expected")
        found = [self._option(operand)]
        while self._takes(","):
            found.append(self._option(operand))
        if not self._takes("]"):
            raise self._wrong("a bracket is not closed")
        return found

    def _option(self, operand: Operand) -> float | str:
        if self._next.kind == "name" or self._next.value == "(":
            raise self._wrong("a list in brackets holds numbers or texts in quotes only")
        option = self._signed()
        if option.kind != operand.kind or option.constant is None:
            raise self._other_kind(operand)
        return option.constant

    def _sum(self) -> Operand:
        return self._chain(self._product, "+-")

    def _product(self) -> Operand:
        return self._chain(self._signed, "*/")

    def _chain(self, part: Callable[[], Operand], operators: str) -> Operand:
        first = part()
        while self._next.kind == "operator" and self._next.value in operators:
            operator = self._take().value
            first = self._calculated(operator, first, part())
        return first

    def _calculated(self, operator: str, first: Operand, second: Operand) -> Operand:
        for each in (first, second):
            if each.kind != "numbers":
                raise self._wrong(f"'{operator}' is of numbers, and {each.called} holds none")
        self._calculations += 1
        if self._calculations > _MOST_CALCULATIONS:
            raise self._wrong(f"more than {_MOST_CALCULATIONS} signs + - * /")
        if operator == "/" and second.constant == 0:
            raise self._wrong("it divides by zero")
        return calculated(operator, first, second)

    def _signed(self) -> Operand:
        if self._takes("+"):
            return self._calculated("+", constant(0.0), self._single())
        if self._takes("-"):
            return self._calculated("-", constant(0.0), self._single())
        return self._single()

    def _single(self) -> Operand:
        token = self._take()
        if token.kind == "number":
            return constant(float(token.value))
        if token.kind == "text":
            return constant(token.value)
        if token.kind == "name":
            return self._column(token.value)
        if token.kind == "operator" and token.value in ("true", "false"):
            return constant(float(token.value == "true"))
        if token.kind == "operator" and token.value == "(":
            found = self._or()
            if not self._takes(")"):
                raise self._wrong("a parenthesis is not closed")
            return found
        said = f"'{token.value}' is none" if token.value else "it ends there"
        raise self._wrong(f"a column is expected, and {said}")

    def _column(self, name: str) -> Operand:
        kind = self._columns.get(name)
        if kind is None:
            known = ", ".join(f"'{each}'" for each in list(self._columns)[:10]) or "none"
            more = ", …" if len(self._columns) > 10 else ""
            raise self._wrong(f"there is no column '{name}'; there are {known}{more}")
        self.seen.add(name)
        return column(name, kind)


def _condition(judge: Judge) -> Operand:
    return Operand("condition", "a condition", judge)
