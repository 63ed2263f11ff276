"""Rows of a log as a CSV or Parquet file."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Final

import duckdb

from serving.errors import InvalidInput

_OPTIONS: Final = {".csv": "FORMAT csv, HEADER", ".parquet": "FORMAT parquet, COMPRESSION zstd"}


def export(rows: Any, path: Path) -> int:
    """Write rows to a file, which appears whole or not at all, and return how many they are.

    Args:
        rows: what `LogReader.scan` gives; it is never in memory as a whole.
        path: of the file; its suffix says which format. Lists in a CSV are text.

    Raises:
        InvalidInput: the suffix is unknown, or the file cannot be written.
    """
    options = _OPTIONS.get(path.suffix.lower())
    if options is None:
        raise InvalidInput(f"'{path}': write to a file that ends in .csv or .parquet")
    temporary = path.with_name(f".{path.name}.unfinished")
    place = str(temporary).replace("'", "''")
    try:
        with duckdb.connect() as database:
            database.execute("SET TimeZone = 'UTC'")
            database.register("rows", rows)
            database.execute(f"COPY rows TO '{place}' ({options})")
            written = database.fetchone()
        temporary.replace(path)
    except (OSError, duckdb.Error) as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        why = str(error).partition("\n")[0]
        raise InvalidInput(f"'{path}' cannot be written: {why}") from None
    return int(written[0]) if written else 0
