"""The log's writer: rows in, without waiting; streams and parts out, by threads of its own."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from serving.log.columns import kept_rows, likeness, prediction_batch, sensitive_batch
from serving.log.counts import LogCounts, SharedCounts, reason_of
from serving.log.label_rows import LabelRows, label_batch
from serving.log.layout import Partition, day_of
from serving.log.open_streams import OpenStreams, RollLimits
from serving.log.retention import Retention
from serving.log.roller import Roller
from serving.log.rows import LogRows, ModelLog
from serving.log.spool import SpoolFolder
from serving.log.store import Store
from serving.log.stream_names import Cut, StreamNames
from serving.protocol.ids import new_request_id

_FLUSH_S: Final = 0.25
"""Rows are in a stream after it, as long as the disk takes them: a second at most may be lost."""
_MOST_JOINED: Final = 16_384
"""Rows of one record batch."""


@dataclass(frozen=True, slots=True)
class LogLimits:
    """Bounds of a writer.

    Attributes:
        queue_bytes: what may wait to be written to a stream.
        spool_bytes: streams on the local disk that the store has not taken.
        roll: when a stream becomes a Parquet file.
    """

    queue_bytes: int = 256 << 20
    spool_bytes: int = 4 << 30
    roll: RollLimits = field(default_factory=RollLimits)


class LogWriter:
    """Writes the rows that it is given; nobody who gives them waits or gets an error.

    Args:
        store: where Parquet files go.
        spool: local folder of streams, shared by all writers of this log.
        retention: what is deleted.
        models: how each model is logged; others as `ModelLog()` says. May be changed meanwhile.
        limits: bounds.
        names: names its streams, and those of writers before it in this process.

    Raises:
        OSError: the spool cannot be made.
    """

    def __init__(
        self,
        store: Store,
        spool: Path,
        retention: Retention,
        models: Mapping[str, ModelLog],
        limits: LogLimits | None = None,
        names: StreamNames | None = None,
    ) -> None:
        self._models = models
        self._limits = limits or LogLimits()
        self._counts = SharedCounts()
        own = _own_folder(spool)
        self._roller = Roller(store, spool, own, retention, self._counts)
        self._names = names or StreamNames()
        self._streams = OpenStreams(own.path, self._limits.roll, self._roller.add, self._names)
        self._lock = threading.Lock()
        self._written = threading.Condition(self._lock)
        self._queue: deque[tuple[LogRows | LabelRows, int, int]] = deque()
        self._queued_bytes = 0
        self._taken = self._settled = 0
        """How many times `offer` took something, and how many of these are not waiting any more."""
        self._cuts: list[Cut] = []
        """Those that are wanted and not made yet."""
        self._news = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)

    def start(self) -> None:
        """Start the threads."""
        self._thread.start()
        self._roller.start()

    def offer(self, rows: LogRows) -> bool:
        """Take rows to be written; from any thread, without waiting for anything.

        Their arrays must not change any more.

        Returns:
            Whether they were taken; if not, they are counted as dropped.
        """
        count, size = rows.count, rows.nbytes
        with self._lock:
            refused = self._refused(rows, count, size)
            if refused:
                self._counts.refuse(refused, count)
            else:
                self._counts.take(count)
        return not refused

    def offer_labels(self, labels: LabelRows) -> bool:
        """Take labels to be written; as `offer`, but with counts of their own."""
        count, size = labels.count, labels.nbytes
        with self._lock:
            refused = self._refused(labels, count, size)
            if refused:
                self._counts.add("labels_dropped", count)
        return not refused

    def _refused(self, rows: LogRows | LabelRows, count: int, size: int) -> str:
        """Put rows into the queue; returns why not, empty if they are in it."""
        if self._queued_bytes + size > self._limits.queue_bytes:
            return "queue_full"
        if self._stopping:
            return "stopped"
        self._queue.append((rows, count, size))
        self._queued_bytes += size
        self._taken += 1
        if 2 * self._queued_bytes > self._limits.queue_bytes:
            self._news.set()
        return ""

    def refuse(self, reason: str, rows: int) -> None:
        """Count rows as dropped that could not be offered."""
        self._counts.refuse(reason, rows)

    def flush(self, timeout_s: float) -> bool:
        """Wait until what was offered so far is in streams, or dropped; from any other thread.

        Returns:
            Whether it is; false when the disk takes longer than that.
        """
        with self._written:
            wanted = self._taken
            self._news.set()
            return self._written.wait_for(lambda: self._settled >= wanted, timeout_s)

    def cut(self, timeout_s: float) -> Cut | None:
        """Finish all streams with what was offered so far; from any other thread.

        Returns:
            What tells later streams: those of before are finished. None when the disk takes longer
            than that.
        """
        cut = Cut()
        with self._written:
            self._cuts.append(cut)
            self._news.set()
            return cut if self._written.wait_for(lambda: cut.made, timeout_s) else None

    def counts(self) -> LogCounts:
        """Return what became of all rows so far."""
        return self._counts.snapshot()

    def close(self, timeout_s: float = 5) -> None:
        """Write what waits, finish all streams, and stop; what the store does not take stays."""
        with self._lock:
            if self._stopping:
                return
            self._stopping = True
        self._news.set()
        deadline = time.monotonic() + timeout_s
        self._thread.join(timeout_s)
        self._roller.stop(max(0.1, deadline - time.monotonic()))

    def _run(self) -> None:
        while True:
            with self._lock:
                last, cuts = self._stopping, self._cuts
                self._cuts = []
            self._write_waiting()
            self._streams.finish_old()
            if last or cuts:
                self._finish_all(cuts)
            if last:
                return
            self._news.wait(_FLUSH_S)
            self._news.clear()

    def _finish_all(self, cuts: Sequence[Cut]) -> None:
        self._streams.finish_all()
        with self._written:
            for cut in cuts:
                self._names.make(cut)
            self._written.notify_all()

    def _write_waiting(self) -> None:
        while taken := self._take():
            groups: dict[Any, list[LogRows]] = {}
            labels: dict[Any, list[LabelRows]] = {}
            for rows, count, _ in taken:
                try:
                    partition = Partition(rows.model, rows.version, day_of(rows.time))
                    if isinstance(rows, LabelRows):
                        labels.setdefault((partition, rows.kind), []).append(rows)
                    else:
                        groups.setdefault((partition, likeness(rows)), []).append(rows)
                except Exception as error:  # noqa: BLE001 - as in `_made`
                    if isinstance(rows, LabelRows):
                        self._drop_labels(error, count)
                    else:
                        self._drop(error, count)
            for (partition, _), group in groups.items():
                self._write(partition, group)
            for (partition, _), told in labels.items():
                self._write_labels(partition, told)
            with self._written:
                self._queued_bytes -= sum(size for _, _, size in taken)
                self._settled += len(taken)
                self._written.notify_all()

    def _take(self) -> list[tuple[LogRows | LabelRows, int, int]]:
        taken: list[tuple[LogRows | LabelRows, int, int]] = []
        count = 0
        with self._lock:
            while self._queue and count < _MOST_JOINED:
                taken.append(self._queue.popleft())
                count += taken[-1][1]
        return taken

    def _write(self, partition: Partition, group: Sequence[LogRows]) -> None:
        how = self._models.get(partition.model, ModelLog())
        for some, made in _made(group, how):
            count = sum(rows.count for rows in some)
            if isinstance(made, Exception):
                self._drop(made, count)
            else:
                self._append(partition, made, count)

    def _append(self, partition: Partition, made: tuple[Any, Any, Any], count: int) -> None:
        predictions, sensitive, kept = made
        if kept is not None:
            predictions = predictions.filter(kept)
            sensitive = None if sensitive is None else sensitive.filter(kept)
        left = predictions.num_rows
        if left and self._spool_full:
            self._counts.drop("spool_full", left)
            left = 0
        elif left:
            left = self._store(partition, predictions, sensitive)
        self._counts.store(left, count - predictions.num_rows)

    def _store(self, partition: Partition, predictions: Any, sensitive: Any) -> int:
        """Append both batches; return how many predictions were stored."""
        try:
            self._streams.append("predictions", partition.folder, predictions)
        except OSError as error:
            self._drop(error, predictions.num_rows)
            return 0
        try:
            if sensitive is not None:
                self._streams.append("sensitive", partition.folder, sensitive)
        except OSError as error:
            self._counts.add("sensitive_dropped", sensitive.num_rows)
            self._counts.add("failures")
            self._counts.note("disk_error", str(error))
        else:
            self._counts.note("disk_error", None)
        return int(predictions.num_rows)

    def _write_labels(self, partition: Partition, group: Sequence[LabelRows]) -> None:
        count = sum(rows.count for rows in group)
        if self._spool_full:
            self._counts.add("labels_dropped", count)
            return
        try:
            self._streams.append("labels", partition.folder, label_batch(group))
        except Exception as error:  # noqa: BLE001 - as in `_made`
            if isinstance(error, OSError) or len(group) == 1:
                self._drop_labels(error, count)
                return
            for rows in group:
                self._write_labels(partition, [rows])
        else:
            self._counts.add("labels", count)

    @property
    def _spool_full(self) -> bool:
        return self._streams.size + self._roller.size > self._limits.spool_bytes

    def _drop_labels(self, error: Exception, count: int) -> None:
        self._failed(error)  # before the count that it goes with
        self._counts.add("labels_dropped", count)

    def _drop(self, error: Exception, count: int) -> None:
        self._counts.drop(reason_of(error), count)
        self._failed(error)

    def _failed(self, error: Exception) -> None:
        of_disk = isinstance(error, OSError)
        self._counts.note("disk_error" if of_disk else "row_error", str(error))
        self._counts.add("failures", of_disk)


def _own_folder(spool: Path) -> SpoolFolder:
    while True:
        # Between the making of a folder and its lock another writer may take it for a dead one's.
        with contextlib.suppress(BlockingIOError):
            return SpoolFolder(spool / new_request_id())


Made = tuple[Any, Any, Any] | Exception


def _made(group: Sequence[LogRows], how: ModelLog) -> Iterator[tuple[Sequence[LogRows], Made]]:
    """Yield record batches; rows that none can be made of do not cost the others theirs."""
    try:
        yield group, _batches(group, how)
        return
    except Exception as error:  # noqa: BLE001 - whatever a row holds, the log goes on
        if len(group) == 1:
            yield group, error
            return
    for rows in group:
        yield from _made([rows], how)


def _batches(group: Sequence[LogRows], how: ModelLog) -> tuple[Any, Any, Any]:
    predictions = prediction_batch(group, how)
    sensitive = None
    if group[0].sensitive and how.capture != "none":
        sensitive = sensitive_batch(group, how)
    return predictions, sensitive, kept_rows(predictions, how.sample)
