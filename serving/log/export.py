"""Rows of a log as CSV, Parquet, or JSON lines, batch by batch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

import duckdb
import msgspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from serving.errors import InvalidInput
from serving.log.query import connection, quoted

Form = Literal["csv", "parquet", "json"]
Progress = Callable[[int], None]
"""Is told of how many rows are written."""

BATCH_ROWS: Final = 65_536
_FORM_OF: Final[dict[str, Form]] = {
    ".csv": "csv", ".parquet": "parquet", ".json": "json", ".jsonl": "json",
}  # fmt: skip
_UUID: Final = (
    r"regexp_replace(lower(hex({})), '^(.{{8}})(.{{4}})(.{{4}})(.{{4}})', '\1-\2-\3-\4-')"
)
_TIME: Final = "strftime({}, '%Y-%m-%dT%H:%M:%S.%fZ')"
_HARMLESS: Final = r"CASE WHEN regexp_matches({0}, '^[=+\-@\t\r]') THEN '''' || {0} ELSE {0} END"
"""Spreadsheets run what begins so as a formula."""


def form_of(path: Path) -> Form:
    """Return the form that the suffix of a file's name says.

    Raises:
        InvalidInput: it says none.
    """
    form = _FORM_OF.get(path.suffix.lower())
    if form is None:
        known = ", ".join(_FORM_OF)
        raise InvalidInput(f"'{path}': write to a file that ends in one of {known}")
    return form


def export(
    rows: Any,
    target: Path | BinaryIO,
    form: Form | None = None,
    *,
    raw: bool = False,
    progress: Progress = lambda _rows: None,
) -> int:
    """Write rows to a file, which appears whole or not at all, and return how many they are.

    Args:
        rows: what `LogReader.scan` gives; it is never in memory as a whole.
        target: the file's path, or an open one.
        form: how to write; None: as the path's suffix says. In CSV lists and bytes are text, and
            text that a spreadsheet would run as a formula begins with an apostrophe. In JSON, an
            object a line, NaN is null and bytes are base64.
        raw: leave such text in CSV as it is.
        progress: is told how far it is.

    Raises:
        InvalidInput: the suffix is unknown, or the file cannot be written; or what `rows` raises.
        OSError: an open file cannot be written.
    """
    if not isinstance(target, Path):
        assert form is not None, "an open file has no suffix"
        return _write(rows, target, form, raw, progress)
    form = form or form_of(target)
    temporary = target.with_name(f".{target.name}.unfinished")
    try:
        with temporary.open("wb") as file:
            written = _write(rows, file, form, raw, progress)
        temporary.replace(target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError | pa.ArrowException | duckdb.Error):
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise InvalidInput(f"'{target}' cannot be written: {_line(why)}") from None
        raise
    return written


def _line(text: str) -> str:
    return text.partition("\n")[0][:300]


def _write(rows: Any, file: BinaryIO, form: Form, raw: bool, progress: Progress) -> int:
    written = 0
    with _writer(rows, file, form, raw) as (batches, write):
        for batch in batches:
            write(batch)
            written += batch.num_rows
            progress(written)
    return written


@contextlib.contextmanager
def _writer(
    rows: Any, file: BinaryIO, form: Form, raw: bool
) -> Iterator[tuple[Iterator[Any], Callable[[Any], object]]]:
    """Give batches to write, and what writes them."""
    if form == "parquet":
        with pq.ParquetWriter(file, rows.schema, compression="zstd") as parquet:
            yield iter(rows), parquet.write_batch
        return
    schema, batches = _as_text(rows, form, raw)
    if form == "csv":
        with pa.csv.CSVWriter(file, schema) as csv:
            yield batches, csv.write_batch
        return
    encode = msgspec.json.Encoder().encode_lines
    yield batches, lambda batch: file.write(encode(batch.to_pylist()))


def _as_text(rows: Any, form: Form, raw: bool) -> tuple[Any, Iterator[Any]]:
    """Return the schema and batches of rows whose ids and times are text; for CSV, lists too."""
    failed: list[Exception] = []

    def watched() -> Iterator[Any]:
        try:
            yield from rows
        except Exception as error:
            failed.append(error)
            raise

    database = connection()
    database.register("rows", pa.RecordBatchReader.from_batches(rows.schema, watched()))
    columns = ", ".join(
        f"{_expression(field, form, raw)} AS {quoted(field.name)}" for field in rows.schema
    )
    chosen = f"SELECT {columns} FROM rows"  # noqa: S608 - names of columns, quoted
    with _own_words(failed):
        reader = database.sql(chosen).to_arrow_reader(BATCH_ROWS)

    def batches() -> Iterator[Any]:
        with _own_words(failed):
            yield from reader

    return reader.schema, batches()


@contextlib.contextmanager
def _own_words(failed: list[Exception]) -> Iterator[None]:
    """Raise what has failed first instead of what a database makes of it."""
    try:
        yield
    except (OSError, duckdb.Error, pa.ArrowException):
        if failed:
            raise failed[0] from None
        raise


def _expression(field: Any, form: Form, raw: bool) -> str:
    name, kind = quoted(field.name), field.type
    if field.name == "id" and not pa.types.is_string(kind):
        return _UUID.format(name)
    if pa.types.is_timestamp(kind):
        return _TIME.format(name)
    if form == "json" or pa.types.is_primitive(kind):
        return name
    text = f"CAST({name} AS VARCHAR)"
    return text if raw else _HARMLESS.format(text)
