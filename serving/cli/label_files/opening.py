"""Opening a file with labels by its suffix."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from serving.cli.label_files.delimited import read_csv
from serving.cli.label_files.json_lines import read_json_lines
from serving.cli.label_files.lines import Lines
from serving.cli.label_files.rows import Form, Row, WrongFile, WrongValue, label_of

STANDARD_INPUT: Final = "-"
_TEXT: Final = {".csv": read_csv, ".jsonl": read_json_lines, ".ndjson": read_json_lines}
_PARQUET: Final = (".parquet", ".pq")


@dataclass(frozen=True, slots=True)
class LabelFile:
    """A file with labels that is open.

    Attributes:
        name: as errors name it.
        rows: those that are not skipped, as they are read.
        total: bytes or rows in it; None when nobody knows.
        read: returns how many of these are read.
    """

    name: str
    form: Form
    rows: Iterator[Row]
    total: int | None
    read: Callable[[], int]

    def labels(self) -> Iterator[tuple[Row, dict[str, Any]]]:
        """Yield each row and its label.

        Raises:
            WrongFile: a row has none, or there is no row at all.
        """
        number = self.form.skip
        empty = True
        for row in self.rows:
            empty, number = False, row.number
            try:
                yield row, label_of(row, self.form)
            except WrongValue as error:
                raise WrongFile(f"{self.name}, {row.place}: {error}") from None
        if empty and not number:
            raise WrongFile(f"{self.name} has no labels; write a row for each")


@contextmanager
def open_labels(file: str, form: Form) -> Iterator[LabelFile]:
    """Open a file with labels; `-` is JSON lines on standard input.

    Raises:
        WrongFile: there is none, its suffix is none of ours, or what is in it is not labels.
    """
    suffix = Path(file).suffix.lower()
    if file == STANDARD_INPUT:
        lines = Lines("standard input", sys.stdin.buffer)
        yield LabelFile(lines.name, form, read_json_lines(lines, form), None, lambda: lines.read)
        return
    if suffix not in (*_TEXT, *_PARQUET):
        raise WrongFile(
            f"{file}: its suffix says no format; name it .csv, .jsonl, .ndjson, .parquet or .pq"
        )
    with ExitStack() as stack:
        stream = stack.enter_context(_opened(file))
        if suffix in _PARQUET:
            # Here, because it loads slowly.
            from serving.cli.label_files.parquet import ParquetRows

            table = ParquetRows(Path(file), file, form)
            stack.callback(table.close)
            yield LabelFile(file, form, iter(table), table.total, lambda: table.read)
            return
        lines = Lines(file, stream)
        size = os.fstat(stream.fileno()).st_size
        yield LabelFile(file, form, _TEXT[suffix](lines, form), size or None, lambda: lines.read)


def _opened(file: str) -> BinaryIO:
    try:
        return Path(file).open("rb")
    except (OSError, ValueError) as error:
        problem = error.strerror if isinstance(error, OSError) else "it is no name of a file"
        raise WrongFile(f"{file}: {problem}") from None
