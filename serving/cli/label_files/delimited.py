"""Labels in CSV: one header, then a row a line; types are guessed value by value."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from typing import Final

from serving.cli.label_files.lines import Lines
from serving.cli.label_files.rows import (
    DOT,
    Form,
    Row,
    WrongFile,
    WrongValue,
    check_names,
    check_skipped,
)

_WHOLE: Final = re.compile(r"\s*[+-]?\d+\s*", re.ASCII)
_NUMBER: Final = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)
_NO_NUMBER: Final = re.compile(r"\s*[+-]?(nan|inf|infinity)\s*", re.ASCII | re.IGNORECASE)
_LONGEST_WHOLE: Final = 300
"""Digits that a double can have before its point: more are no finite number."""


def read_csv(lines: Lines, form: Form) -> Iterator[Row]:
    """Yield the rows of a CSV file but those to skip.

    Raises:
        WrongFile: it is none, a row has a value that none can be made of, or there are fewer rows
            than to skip.
    """
    records = _records(lines)
    _, header = next(records, (0, [""]))
    if not any(header):
        raise WrongFile(f"{lines.name} is empty; its first line names the columns")
    try:
        check_names(header, form)
    except WrongValue as error:
        raise WrongFile(f"{lines.name}, line 1: {error}") from None
    at = {name: place for place, name in enumerate(header)}
    features = {name.removeprefix(DOT): at[name] for name in at if name.startswith(DOT)}
    number = 0
    for number, (line, cells) in enumerate(records, 1):
        if number <= form.skip:
            continue
        where = f"{lines.name}, row {number} (line {line})"
        if len(cells) != len(header):
            raise WrongFile(
                f"{where} has {len(cells)} values and the header {len(header)}; quote values that "
                "hold a comma"
            )
        try:
            y_true = _typed(cells[at[form.label_column]], form)
        except WrongValue as error:
            raise WrongFile(f"{where}: {error}") from None
        yield Row(
            number=number,
            line=line,
            id=cells[at[form.id_column]],
            y_true=y_true,
            index=_index(cells[at["index"]]) if "index" in at else None,
            timestamp=cells[at["timestamp"]] if "timestamp" in at else None,
            sensitive_features={name: cells[place] for name, place in features.items()},
        )
    check_skipped(lines.name, number, form)


def _records(lines: Lines) -> Iterator[tuple[int, list[str]]]:
    """Yield what is no blank line, with the line on which it begins."""
    reader = csv.reader(lines, strict=True)
    while True:
        first = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise WrongFile(
                f"{lines.name}, row that begins on line {first} is no CSV: {error}; check its "
                "quotes and what ends its lines"
            ) from None
        if cells:
            yield first, cells


def _typed(text: str, form: Form) -> str | float | bool:
    if form.as_text:
        return text
    if _NO_NUMBER.fullmatch(text):
        raise WrongValue(
            form.label_column,
            f"is {text.strip()[:20]}, no finite number; correct it or leave the row out, or take "
            "it as text with --text",
        )
    if _WHOLE.fullmatch(text) and len(text) <= _LONGEST_WHOLE:
        return int(text)
    if _NUMBER.fullmatch(text):
        return float(text)
    return {"true": True, "false": False}.get(text.strip().lower(), text)


def _index(text: str) -> object:
    if not text.strip():
        return None
    # What is none is refused with all other wrong values.
    return float(text) if _NUMBER.fullmatch(text) else text
