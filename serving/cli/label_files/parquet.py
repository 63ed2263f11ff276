"""Labels in Parquet: the columns that are needed, a batch of rows in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import types

from serving.cli.label_files.rows import (
    DOT,
    Form,
    Row,
    WrongFile,
    WrongValue,
    check_names,
    check_skipped,
    counts,
)

BATCH: Final = 1000
BUFFER: Final = 1 << 20

_TEXT: Final = (types.is_string, types.is_large_string, types.is_string_view)
_REAL: Final = (types.is_integer, types.is_floating, types.is_decimal)
_LISTS: Final = (types.is_list, types.is_large_list, types.is_fixed_size_list)


class ParquetRows:
    """The rows of a Parquet file.

    Args:
        path: of the file.
        name: of the file, for errors.

    Attributes:
        total: rows that it has.
        read: rows so far.

    Raises:
        WrongFile: it is no Parquet file, or its columns are not those of labels.
    """

    def __init__(self, path: Path, name: str, form: Form) -> None:
        self._name = name
        self._form = form
        try:
            # Buffered, or the pages of a whole row group would be read at once.
            self._file = pq.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER)
            schema = self._file.schema_arrow
        except (pa.ArrowException, OSError, ValueError) as error:
            raise WrongFile(f"{name} is no Parquet file: {_first_line(error)}") from None
        self.total = self._file.metadata.num_rows
        self.read = 0
        try:
            check_names(schema.names, form)
            fields = {each.name: each.type for each in schema if counts(each.name, form)}
            for column, kind in fields.items():
                _check_type(column, kind, form)
        except WrongValue as error:
            self.close()
            raise WrongFile(f"{name}: {error}") from None
        self._columns = list(fields)

    def close(self) -> None:
        """Close the file."""
        self._file.close(force=True)

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows but those to skip.

        Raises:
            WrongFile: it is damaged, or has fewer rows than to skip.
        """
        batches = self._file.iter_batches(BATCH, columns=self._columns)
        while True:
            try:
                batch = next(batches, None)
                if batch is None:
                    break
                skipped = min(max(self._form.skip - self.read, 0), batch.num_rows)
                columns = {
                    name: _values(batch.column(name).slice(skipped)) for name in self._columns
                }
            except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
                raise WrongFile(
                    f"{self._name} cannot be read after row {self.read}: {_first_line(error)}"
                ) from None
            first, self.read = self.read + skipped + 1, self.read + batch.num_rows
            yield from self._rows(columns, first, batch.num_rows - skipped)
        check_skipped(self._name, self.read, self._form)

    def _rows(self, columns: dict[str, list[Any]], first: int, number: int) -> Iterator[Row]:
        none = [None] * number
        features = {name: columns[name] for name in columns if name.startswith(DOT)}
        for at in range(number):
            yield Row(
                number=first + at,
                line=None,
                id=columns[self._form.id_column][at],
                y_true=columns[self._form.label_column][at],
                index=columns.get("index", none)[at],
                timestamp=columns.get("timestamp", none)[at],
                sensitive_features={
                    name.removeprefix(DOT): values[at] for name, values in features.items()
                },
            )


def _values(column: pa.Array) -> list[Any]:
    if types.is_timestamp(column.type):
        # Nanoseconds are finer than datetime; what is beyond its years raises.
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    values: list[Any] = column.to_pylist()
    return values


def _check_type(column: str, kind: pa.DataType, form: Form) -> None:
    value = kind.value_type if types.is_dictionary(kind) else kind
    if types.is_null(value):
        return
    if column == form.id_column:
        fits, wanted = _is(value, *_TEXT, types.is_integer), "text or whole numbers"
    elif column == form.label_column:
        wanted = "numbers, booleans, text or lists of numbers"
        listed = _is(value, *_LISTS) and _is(value.value_type, *_REAL)
        fits = listed or _is(value, *_TEXT, *_REAL, types.is_boolean)
    elif column == "index":
        fits, wanted = _is(value, types.is_integer, types.is_floating), "whole numbers"
    elif column == "timestamp":
        # Without a time zone nobody knows which moment it is.
        zoned = types.is_timestamp(value) and value.tz is not None
        fits, wanted = zoned or _is(value, *_TEXT), "timestamps with a time zone, or RFC 3339 text"
    else:
        fits = _is(value, *_TEXT, types.is_integer, types.is_boolean)
        wanted = "text, whole numbers or booleans"
    if not fits:
        raise WrongValue(column, f"is of type {kind}; write {wanted}")


def _is(kind: pa.DataType, *tests: Any) -> bool:
    return any(test(kind) for test in tests)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
