"""Arrow IPC streams that grow on the local disk, and what can be read of one at any time.

A stream is the schema's message and then one message per record batch. They are written with one
system call each, so that a killed process leaves at most a torn last message.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa


class OpenStream:
    """A stream that is appended to.

    Args:
        path: the file; it must not exist, its folder need not.
        schema: of all its record batches; without dictionaries.
        mode: of the file.

    Attributes:
        size, rows: bytes and rows that are in it.
        usable: false after a failure that could not be undone; what is in it can be read.

    Raises:
        OSError: it cannot be made; then there is no file.
    """

    def __init__(self, path: Path, schema: Any, mode: int = 0o644) -> None:
        self.path = path
        self.schema = schema
        self.size = 0
        self.rows = 0
        self.usable = True
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            self._write(schema.serialize())
        except OSError:
            self.close()
            with contextlib.suppress(OSError):
                path.unlink()
            raise

    def append(self, batch: Any) -> None:
        """Append a record batch; a reader sees all of it, or nothing.

        Raises:
            OSError: it was not appended.
        """
        self._write(batch.serialize())
        self.rows += batch.num_rows

    def _write(self, message: Any) -> None:
        view = memoryview(message)
        done = 0
        try:
            while done < len(view):
                done += os.write(self._file, view[done:])
        except OSError:
            self._undo()
            raise
        self.size += len(view)

    def _undo(self) -> None:
        try:
            os.ftruncate(self._file, self.size)
            os.lseek(self._file, self.size, os.SEEK_SET)
        except OSError:
            self.usable = False

    def close(self) -> None:
        """Let go of the file."""
        with contextlib.suppress(OSError):
            os.close(self._file)


@dataclass(frozen=True, slots=True)
class StreamContent:
    """What a stream holds.

    Attributes:
        table: its rows; None when not even its schema is whole.
        torn: bytes behind the last whole message.
    """

    table: Any
    torn: int


class GrowingStream:
    """Reads a stream while it is appended to, each record batch once.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._schema: Any = None
        self._at = 0

    def more(self) -> list[Any]:
        """Return the whole record batches that have come since the last call.

        Raises:
            OSError: the file cannot be read.
        """
        with self._path.open("rb") as file:
            file.seek(self._at)
            content = file.read()
        self._schema, batches, whole = _whole_messages(content, self._schema)
        self._at += whole
        return batches


def read_stream(path: Path) -> StreamContent:
    """Read all whole messages of a stream, which may be growing.

    Raises:
        OSError: the file cannot be read.
    """
    # Not mapped: a writer that undoes a failure makes the file shorter.
    content = path.read_bytes()
    schema, batches, whole = _whole_messages(content, None)
    table = None if schema is None else pa.Table.from_batches(batches, schema)
    return StreamContent(table, len(content) - whole)


def _whole_messages(content: bytes, schema: Any) -> tuple[Any, list[Any], int]:
    """Return the schema, which comes first where it is not known yet, record batches, and bytes."""
    source = pa.BufferReader(content)
    messages = pa.ipc.MessageReader.open_stream(source)
    batches: list[Any] = []
    whole = 0
    try:
        if schema is None:
            schema = pa.ipc.read_schema(messages.read_next_message())
            whole = source.tell()
        while True:
            batches.append(pa.ipc.read_record_batch(messages.read_next_message(), schema))
            whole = source.tell()
    except (StopIteration, EOFError, OSError, pa.ArrowException, ValueError):
        pass  # its end, or what a torn message looks like
    return schema, batches, whole
