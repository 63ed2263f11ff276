"""`vigil predictions`: rows of the prediction log, as a table or a file."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Final, Literal
from uuid import UUID

import typer

from serving.cli.console import ERR, OUT, Report, cell, complain, say, with_progress
from serving.cli.log_files import LogFiles, reads_log
from serving.errors import InvalidInput, VigilError
from serving.protocol.moments import window

if TYPE_CHECKING:
    from serving.log.reader import LogReader

Output = Literal["table", "csv", "parquet", "json"]

_TABLE_ROWS: Final = 50
_TABLE_COLUMNS: Final = 12
_WIDEST: Final = 40
_FIRST: Final = ("time", "version", "client_id", "index", "outcome")
_TRUTH: Final = ("predicted", "label")
_SOON_S: Final = 1.0
"""What takes longer shows how far it is."""


@reads_log
def predictions(
    files: LogFiles,
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    where: Annotated[
        str,
        typer.Option(help="Which rows: a condition in SQL on the columns, such as 'in_age > 60'."),
    ] = "true",
    last: Annotated[
        str | None, typer.Option(help="Only the last so long, such as 90s, 15m, 1h or 7d.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Only from this time on: 2026-01-31T12:00:00Z, or a date.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Only before this time; UTC if not said.")] = (
        None
    ),
    columns: Annotated[
        str | None, typer.Option(help="Which columns, with commas between; none: all.")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1, help=f"So many at most, the newest; a table: {_TABLE_ROWS} if not said."
        ),
    ] = None,
    output: Annotated[
        Output | None,
        typer.Option(help="json: an object a line. None: as the file's name says, else a table."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The file; none: standard output.")] = None,
    raw: Annotated[
        bool,
        typer.Option(
            "--raw",
            help="In CSV, leave text as it is that a spreadsheet would run as a formula: without "
            "this, text that begins with = + - @ gets an apostrophe in front.",
        ),
    ] = False,
) -> None:
    """Print or export logged predictions; it reads the log's files, also while Vigil runs."""
    first, end = window(last, since, until, datetime.now(UTC))
    chosen = None if columns is None else [name for name in columns.split(",") if name]
    if chosen == []:
        raise InvalidInput("--columns names none; write them with commas between, or leave it out")
    form = _form(output, out)
    if form == "table" and limit is None:
        limit = _TABLE_ROWS
    import pyarrow as pa

    try:
        reader = files.reader()
        rows = reader.scan(model, where, first, end, chosen, limit, newest=limit is not None)
        if form == "table":
            _show(rows.read_all(), reader, model, limit, all_columns=chosen is not None)
        else:
            _export(rows, form, out, raw)
    except BrokenPipeError:  # whoever reads the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, pa.ArrowException) as error:
        raise VigilError(f"the log cannot be read: {str(error).partition(chr(10))[0]}") from None


def _form(output: Output | None, out: Path | None) -> Output:
    from serving.log.export import form_of

    if output is None:
        return "table" if out is None else form_of(out)
    if output == "table" and out is not None:
        raise InvalidInput("a table is for the terminal; use --output csv, parquet or json")
    if output == "parquet" and out is None:
        raise InvalidInput("--output parquet needs a file; name it with --out")
    return output


def _export(rows: Any, form: Any, out: Path | None, raw: bool) -> None:
    from serving.log.export import export

    begun = time.monotonic()
    written = 0

    def work(report: Report) -> None:
        nonlocal written

        def progress(done: int) -> None:
            if time.monotonic() - begun > _SOON_S:
                report("writing rows", done, None)

        target: Path | BinaryIO = sys.stdout.buffer if out is None else out
        written = export(rows, target, form, raw=raw, progress=progress)

    with_progress(work, ERR.is_terminal)
    if out is None:
        sys.stdout.buffer.flush()
    else:
        complain(f"{written} rows are in {out}")


def _show(table: Any, reader: LogReader, model: str, limit: int | None, all_columns: bool) -> None:
    from rich.table import Column, Table

    if not table.num_rows:
        known = reader.models()
        if model not in known:
            has = f"it has {', '.join(known[:20])}" if known else "it is empty"
            raise VigilError(f"the log has no predictions of model '{model}'; {has}")
        say("no prediction is like that")
        return
    names = table.column_names if all_columns else _for_people(table.column_names)
    shown = Table(*(Column(cell(name), overflow="fold") for name in names))
    for row in table.select(names).to_pylist():
        shown.add_row(*(cell(_text(value)) for value in row.values()))
    OUT.print(shown)
    left = [name for name in table.column_names if name not in names]
    if left:
        say(f"more columns for --columns: {', '.join(left)}")
    if table.num_rows == limit:
        say(f"the newest {limit}; --limit shows more")


def _for_people(names: Sequence[str]) -> list[str]:
    sides = ("score_", "out_", "in_")
    values = [name for side in sides for name in names if name.startswith(side)]
    first = (*_FIRST, *_TRUTH) if "label" in names else _FIRST
    return [*(name for name in first if name in names), *values][:_TABLE_COLUMNS]


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        text = str(UUID(bytes=value)) if len(value) == 16 else value.decode("utf-8", "replace")
    elif isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S.") + f"{value.microsecond // 1000:03}"
    else:
        text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"
