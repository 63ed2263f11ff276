"""Conditions in SQL on the columns of a log: read only, and wrong ones told in a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import duckdb
import pyarrow as pa

from serving.errors import InvalidInput

_HINTS: Final = re.compile(r"Candidate bindings: (.*)")
_OF_VALUES: Final = re.compile("(Conversion|Invalid Input|Out of Range|Mismatch Type) Error: ")
_MEMORY: Final = "1GB"


def connection() -> Any:
    """Return a database that holds nothing and reaches neither files nor the network."""
    made = duckdb.connect()
    made.execute("SET TimeZone = 'UTC'")
    made.execute(f"SET memory_limit = '{_MEMORY}'")
    made.execute("SET python_enable_replacements = false")
    made.execute("SET enable_external_access = false")
    made.execute("SET lock_configuration = true")
    return made


def require_condition(where: str) -> None:
    """Check that a text is one condition.

    Raises:
        InvalidInput: it is not.
    """
    try:
        found = duckdb.extract_statements(_selection("*", where))
    except duckdb.Error as error:
        raise _wrong(where, error) from None
    if len(found) != 1 or found[0].type != duckdb.StatementType.SELECT:
        raise InvalidInput(f"where: '{where}' is more than one condition; write one, as age > 60")


def select(database: Any, columns: str, where: str, more: str = "") -> Any:
    """Return an Arrow reader of chosen rows of the view `rows`.

    Raises:
        InvalidInput: the condition is wrong. Also while it is read, where only a value shows it.
    """
    query = f"{_selection(columns, where)} {more}"
    try:
        reader = database.sql(query).to_arrow_reader()
    except duckdb.Error as error:
        raise _wrong(where, error) from None
    return pa.RecordBatchReader.from_batches(reader.schema, _told(reader, where))


def _told(reader: Any, where: str) -> Iterator[Any]:
    try:
        yield from reader
    except OSError as error:  # as Arrow names whatever went wrong; also what the store raised
        if _OF_VALUES.match(str(error)):
            raise _wrong(where, error) from None
        raise


def _selection(columns: str, where: str) -> str:
    # The line ends keep a comment from reaching what stands behind it.
    return f"SELECT {columns} FROM rows WHERE (\n{where}\n)"  # noqa: S608 - locked in, see above


def quoted(name: str) -> str:
    """Return a column's name as SQL writes any name."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a text as SQL writes any text."""
    return "'" + text.replace("'", "''") + "'"


def _wrong(where: str, error: Exception) -> InvalidInput:
    text = str(error)
    first = text.partition("\n")[0].partition(": ")[2] or text.partition("\n")[0]
    hint = _HINTS.search(text)
    near = f"; there is {hint[1].strip()}" if hint else ""
    return InvalidInput(f"where: '{where}' is no condition on the log's columns: {first}{near}")
