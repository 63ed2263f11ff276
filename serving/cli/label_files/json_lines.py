"""Labels in JSON lines: one object a line, with the names that the protocol has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from serving.cli.label_files.lines import Lines
from serving.cli.label_files.rows import (
    DOT,
    SENSITIVE,
    Form,
    Row,
    WrongFile,
    WrongValue,
    check_skipped,
)
from serving.errors import InvalidInput
from serving.protocol.json.data import UNREADABLE, reason
from serving.protocol.json.duplicates import refuse_duplicates

_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


def read_json_lines(lines: Lines, form: Form) -> Iterator[Row]:
    """Yield the rows of JSON lines but those to skip.

    Raises:
        WrongFile: a line is no JSON object, or has no label, or there are fewer lines than to skip.
    """
    number = 0
    for line in lines:
        if not line.strip():
            continue
        number += 1
        if number <= form.skip:
            continue
        where = f"{lines.name}, row {number} (line {lines.number})"
        found = _object(line, where)
        try:
            yield _row(found, form, number, lines.number)
        except WrongValue as error:
            raise WrongFile(f"{where}: {error}") from None
    check_skipped(lines.name, number, form)


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        found = _decode(line)
    except UNREADABLE as error:
        raise WrongFile(
            f"{where} is no JSON object: {reason(error)}; write one object a line"
        ) from None
    try:
        refuse_duplicates(line.encode(), where)
    except InvalidInput as error:
        raise WrongFile(error.message) from None
    return found


def _row(found: dict[str, Any], form: Form, number: int, line: int) -> Row:
    for needed, option in ((form.id_column, "--id-column"), (form.label_column, "--label-column")):
        if needed not in found:
            raise WrongValue(needed, f"is missing; write it, or name another with {option}")
    flat = next((name for name in found if name.startswith(DOT)), None)
    if flat is not None:
        raise WrongValue(flat, f"is not read; write an object '{SENSITIVE}' with names and values")
    features = found.get(SENSITIVE) or {}
    if not isinstance(features, dict):
        raise WrongValue(SENSITIVE, "is no object; write names and values, or leave it out")
    return Row(
        number,
        line,
        found[form.id_column],
        found[form.label_column],
        found.get("index"),
        found.get("timestamp"),
        features,
    )
