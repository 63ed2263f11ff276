"""A writer whose folder cannot be made at first."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest

from serving.log.label_rows import LabelRows
from serving.log.late_writer import RETRY_S, LateWriter
from serving.log.retention import Retention
from serving.log.stream_names import StreamNames
from serving.log.writer import LogWriter

FOREVER = Retention(1e5, 1e5, 1e15)
REASONS = {errno.ENOSPC: "disk_full", errno.EROFS: "read_only", errno.EIO: "io_error"}


class Disk:
    """Makes the log's writers, once it can."""

    def __init__(self, log: Any, number: int) -> None:
        self.log, self.number = log, number
        self.broken, self.tries, self.now = True, 0, 0.0

    def make(self, names: StreamNames) -> Any:
        self.tries += 1
        if self.broken:
            raise OSError(self.number, os.strerror(self.number))
        made = LogWriter(self.log.store, self.log.spool, FOREVER, {}, names=names)
        self.log.writers.append(made)
        return made

    def late(self) -> LateWriter:
        return LateWriter(self.make, lambda: self.now)


@pytest.mark.parametrize("number", REASONS)
def test_rows_are_counted_as_lost_until_it_begins(log: Any, rows: Any, number: int) -> None:
    disk = Disk(log, number)
    writer = disk.late()
    writer.start()
    for _ in range(3):
        assert not writer.offer(rows(2))
    assert writer.flush(30)
    assert disk.tries == 1
    disk.broken, disk.now = False, RETRY_S - 0.1
    assert not writer.offer(rows(1))
    assert not writer.offer_labels(LabelRows("m", "1", ["r"], [0], [1e9], [1]))
    before = writer.counts()
    assert (before.offered, before.dropped, before.failures) == (7, {REASONS[number]: 7}, 1)
    assert os.strerror(number) in str(before.disk_error)
    disk.now = RETRY_S
    assert writer.offer(rows(4))
    assert writer.offer_labels(LabelRows("m", "1", ["r"] * 2, [0, 1], [1e9] * 2, [1, 0]))
    assert writer.flush(30)
    after = writer.counts()
    assert (after.labels, after.labels_dropped) == (2, 1)
    assert (after.offered, after.stored, after.dropped) == (11, 4, {REASONS[number]: 7})
    assert (after.failures, after.disk_error) == (1, None)
    assert disk.tries == 2
    assert log.table().num_rows == 4


def test_it_begins_at_once_where_nothing_is_wrong(log: Any, rows: Any) -> None:
    disk = Disk(log, errno.EIO)
    disk.broken = False
    writer = disk.late()
    writer.start()
    writer.refuse("unwritable", 2)
    assert writer.offer(rows(1))
    writer.close(30)
    counts = writer.counts()
    assert (counts.offered, counts.stored, counts.dropped) == (3, 1, {"unwritable": 2})
    assert (disk.tries, len(log.parts())) == (1, 1)


def test_after_the_end_it_does_not_begin(log: Any, rows: Any) -> None:
    disk = Disk(log, errno.EIO)
    writer = disk.late()
    writer.close(1)
    disk.broken = False
    assert not writer.offer(rows(1))
    assert writer.counts().dropped == {"stopped": 1}
    assert disk.tries == 0


def test_a_cut_before_it_begins_tells_all_that_it_writes_then(log: Any, rows: Any) -> None:
    disk = Disk(log, errno.EIO)
    writer = disk.late()
    before = writer.cut(0)
    disk.broken = False
    assert writer.offer(rows(1))
    after = writer.cut(30)
    assert before is not None
    assert after is not None
    writer.close(30)
    (part,) = log.parts()
    assert (before.is_later(part.name), after.is_later(part.name)) == (True, False)
