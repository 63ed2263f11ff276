"""The streams that one writer has open: one per version, day and schema."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from serving.log.layout import Dataset
from serving.log.spool import StreamFile, stream_file
from serving.log.stream import OpenStream
from serving.log.stream_names import StreamNames

MOST_OPEN: Final = 256
"""Streams that are open at once; beyond it the least recently used one is finished."""
_MODES: Final[dict[Dataset, int]] = {"predictions": 0o644, "sensitive": 0o600, "labels": 0o644}
_Key = tuple[Dataset, str, bytes]


@dataclass(frozen=True, slots=True)
class RollLimits:
    """When a stream is finished: by bytes, rows, or seconds since it was begun."""

    max_bytes: int = 64 << 20
    max_rows: int = 500_000
    max_age_s: float = 300


@dataclass(slots=True)
class _Open:
    file: StreamFile
    stream: OpenStream
    begun: float


class OpenStreams:
    """Appends record batches to streams; belongs to one thread.

    Args:
        folder: of the writer, in the spool.
        limits: when a stream is finished.
        finished: is told of every stream that is complete.
        names: names the streams.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        folder: Path,
        limits: RollLimits,
        finished: Callable[[StreamFile], None],
        names: StreamNames,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._limits = limits
        self._finished = finished
        self._names = names
        self._clock = clock
        self._open: dict[_Key, _Open] = {}

    @property
    def size(self) -> int:
        """Bytes in streams that are open."""
        return sum(each.stream.size for each in self._open.values())

    def append(self, dataset: Dataset, folder: str, batch: Any) -> None:
        """Append a record batch.

        Raises:
            OSError: nothing of it was appended.
        """
        key = (dataset, folder, batch.schema.serialize().to_pybytes())
        entry = self._open.pop(key, None) or self._begin(dataset, folder, batch.schema)
        self._open[key] = entry  # the last is the one used most recently
        try:
            entry.stream.append(batch)
        finally:
            limits, stream = self._limits, entry.stream
            full = stream.size >= limits.max_bytes or stream.rows >= limits.max_rows
            if full or not stream.usable:
                self._finish(key)
            if len(self._open) > MOST_OPEN:
                self._finish(next(iter(self._open)))

    def finish_old(self) -> None:
        """Finish those that were begun long enough ago."""
        begun_before = self._clock() - self._limits.max_age_s
        for key in [key for key, each in self._open.items() if each.begun <= begun_before]:
            self._finish(key)

    def finish_all(self) -> None:
        """Finish all of them."""
        for key in list(self._open):
            self._finish(key)

    def _begin(self, dataset: Dataset, folder: str, schema: Any) -> _Open:
        file = stream_file(self._folder, dataset, folder, self._names.next())
        return _Open(file, OpenStream(file.path, schema, _MODES[dataset]), self._clock())

    def _finish(self, key: _Key) -> None:
        entry = self._open.pop(key)
        entry.stream.close()
        self._finished(entry.file)
