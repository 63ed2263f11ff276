"""A row of a file with labels, and the label that it is: what is checked before it is sent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from serving.errors import VigilError

SENSITIVE: Final = "sensitive_features"
DOT: Final = f"{SENSITIVE}."
INDEX_END: Final = 2**31

_OFFSET: Final = "write it as RFC 3339 with an offset, for example 2026-01-31T12:00:00Z"
_KIND: Final[dict[type, str]] = {
    dict: "an object",
    list: "a list",
    bool: "true or false",
    float: "a fraction",
    str: "text",
    type(None): "null",
}


class WrongFile(VigilError):
    """A file with labels cannot be read, or a row of it is no label."""


class WrongValue(Exception):
    """A value is none that its column may have; the text goes on after the column's name."""

    def __init__(self, column: str, problem: str) -> None:
        super().__init__(f"column '{column}' {problem}")


@dataclass(frozen=True, slots=True)
class Form:
    """How a file is to be read.

    Attributes:
        id_column: name of the column with the ids of the requests.
        label_column: name of the column with the labels.
        as_text: whether labels are text, whatever they look like.
        skip: rows at the beginning that are left out.
    """

    id_column: str = "id"
    label_column: str = "y_true"
    as_text: bool = False
    skip: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """A row as the file has it; None where it says nothing.

    Attributes:
        number: of the row, from 1; blank lines and a header do not count.
        line: on which it begins, from 1, where the file has lines.
    """

    number: int
    line: int | None
    id: object
    y_true: object
    index: object
    timestamp: object
    sensitive_features: Mapping[str, object]

    @property
    def place(self) -> str:
        """Where the row stands, in words."""
        return f"row {self.number}" + (f" (line {self.line})" if self.line else "")


def check_skipped(name: str, rows: int, form: Form) -> None:
    """Check at the end of a file of so many rows that those to skip were there.

    Raises:
        WrongFile: there were fewer.
    """
    if rows < form.skip:
        raise WrongFile(
            f"{name} has {rows} rows, fewer than --skip {form.skip} leaves out; correct one of them"
        )


def label_of(row: Row, form: Form) -> dict[str, Any]:
    """Return the label in a row, as `POST /v2/models/{m}/labels` takes it.

    Raises:
        WrongValue: it has none, or says what no label says.
    """
    label: dict[str, Any] = {
        "id": _id(row.id, form.id_column),
        "y_true": _y_true(row.y_true, form),
    }
    if row.index is not None:
        label["index"] = _index(row.index)
    if row.timestamp not in (None, ""):
        label["timestamp"] = _timestamp(row.timestamp)
    features = {
        name: _feature(name, value)
        for name, value in row.sensitive_features.items()
        if value not in (None, "")
    }
    if features:
        label[SENSITIVE] = features
    return label


def check_names(names: list[str], form: Form) -> None:
    """Check the names of a file's columns.

    Raises:
        WrongValue: one that is needed is missing, or one that counts is there twice.
    """
    for needed, option in ((form.id_column, "--id-column"), (form.label_column, "--label-column")):
        if needed not in names:
            there = ", ".join(f"'{name}'" for name in names[:10]) + ", …" * (len(names) > 10)
            raise WrongValue(needed, f"is missing; {option} names another of {there}")
    if SENSITIVE in names:
        raise WrongValue(
            SENSITIVE, f"is not read; write a column {DOT}NAME for each sensitive feature"
        )
    if DOT in names:
        raise WrongValue(DOT, "has no name after the dot; write one there")
    twice = [name for name in names if counts(name, form) and names.count(name) > 1]
    if twice:
        raise WrongValue(twice[0], "is there twice; leave one out")


def counts(name: str, form: Form) -> bool:
    """Whether a column is read."""
    return name in (form.id_column, form.label_column, "index", "timestamp") or (
        name.startswith(DOT)
    )


def _id(value: object, column: str) -> str:
    if value is None or value == "":
        raise WrongValue(column, "is empty; write the id of the request there")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise WrongValue(column, f"is {_kind(value)}; write the id of the request as text")
    return _text(value, column)


def _y_true(value: object, form: Form) -> float | str | bool | list[float]:
    column = form.label_column
    if value is None or value == "":
        raise WrongValue(column, "is empty; write the label there, or leave the row out")
    if isinstance(value, str):
        return _text(value, column)
    if isinstance(value, list):
        return [_number(each, column) for each in value]
    truth = value if isinstance(value, bool) else _number(value, column)
    return _as_text(truth) if form.as_text else truth


def _number(value: object, column: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise WrongValue(
            column,
            f"is or holds {_kind(value)}; a label is a number, true, false, text or a list of "
            "numbers",
        )
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        shown = "NaN" if math.isnan(number) else "infinite"
        raise WrongValue(column, f"is {shown}; write a finite number, or leave the row out")
    return value if isinstance(value, int) and abs(value) < 2**63 else number


def _as_text(truth: float) -> str:
    if isinstance(truth, bool):
        return str(truth).lower()
    return str(int(truth)) if float(truth).is_integer() else str(truth)


def _index(value: Any) -> int:
    # A column with gaps comes as fractions from some writers.
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and 0 <= value < INDEX_END and value == int(value):
        return int(value)
    raise WrongValue("index", "is no whole number from 0; 0 is the first row of a request")


def _timestamp(value: object) -> str:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise WrongValue("timestamp", f"is no time; {_OFFSET}") from None
    if not isinstance(value, datetime):
        raise WrongValue("timestamp", f"is {_kind(value)}; {_OFFSET}")
    if value.tzinfo is None:
        raise WrongValue("timestamp", f"has no offset from UTC; {_OFFSET}")
    return value.isoformat()


def _feature(name: str, value: object) -> str | bool:
    column = f"{DOT}{name}"
    if isinstance(value, bool):
        return value
    if not isinstance(value, str | int):
        raise WrongValue(
            column, f"is {_kind(value)}; a feature is text, a whole number, true or false"
        )
    return _text(str(value), column)


def _text(value: str, column: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise WrongValue(column, "holds half a surrogate pair, which is no text") from None
    return value


def _kind(value: object) -> str:
    return _KIND.get(type(value), f"a value of type {type(value).__name__}")
