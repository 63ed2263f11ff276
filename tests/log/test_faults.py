"""Disks and stores that fail: rows are counted as lost, and the log goes on by itself."""

import errno
import os
import threading
import time

import pytest

from serving.log.label_rows import LabelRows
from serving.log.store import Store

REASONS = {errno.ENOSPC: "disk_full", errno.EROFS: "read_only", errno.EIO: "io_error"}


class BrokenDisk:
    """Stands in for `os`: fails from a number of written bytes on, until it is mended."""

    def __init__(self, number):
        self.number = number
        self.budget = None

    def __getattr__(self, name):
        return getattr(os, name)

    def write(self, descriptor, data):
        if self.budget is None:
            return os.write(descriptor, data)
        if self.budget == 0:
            raise OSError(self.number, os.strerror(self.number))
        part = data[: self.budget]
        self.budget -= len(part)
        return os.write(descriptor, part)

    def ftruncate(self, descriptor, size):
        if self.number == errno.EIO and self.budget is not None:
            raise OSError(self.number, os.strerror(self.number))
        os.ftruncate(descriptor, size)


class AwayStore(Store):
    """A store that cannot be reached, until it can; a file breaks off in its middle."""

    def __init__(self, store):
        super().__init__(store.filesystem, store._root, store.local)
        self.away = True

    def write(self, path, write, *, private=False):
        def broken(file):
            write(file)
            if self.away:
                raise ConnectionError("the store is away")

        super().write(path, broken, private=private)


@pytest.mark.parametrize("number", REASONS)
@pytest.mark.parametrize("begun", [True, False])
@pytest.mark.parametrize("budget", [0, 100])
def test_a_disk_that_takes_nothing(log, rows, wait, monkeypatch, number, begun, budget):
    disk = BrokenDisk(number)
    monkeypatch.setattr("serving.log.stream.os", disk)
    writer = log.writer()
    if begun:
        writer.offer(rows(2))
        wait(lambda: writer.counts().stored == 2)
    before = writer.counts().stored
    disk.budget = budget
    writer.offer(rows(3))
    wait(lambda: writer.counts().waiting == 0)
    assert writer.counts().dropped == {REASONS[number]: 3}
    assert os.strerror(number) in writer.counts().disk_error
    assert not begun or log.table().num_rows == 2
    disk.budget = None
    writer.offer(rows(4))
    wait(lambda: writer.counts().stored == before + 4)
    assert log.table().num_rows == before + 4
    assert writer.counts().disk_error is None
    writer.close()
    assert log.table().num_rows == before + 4


def test_a_store_that_is_away_gets_everything_when_it_is_back(log, rows, wait, small):
    store = AwayStore(log.store)
    writer = log.writer(limits=small(max_rows=1), store=store)
    for _ in range(3):
        writer.offer(rows(2))
        wait(lambda: writer.counts().waiting == 0)
    wait(lambda: writer.counts().failures > 0)
    assert "the store is away" in writer.counts().store_error
    assert [path for path in log.folder.rglob("*") if "part-" in path.name] == []
    assert log.table().num_rows == writer.counts().stored == 6
    store.away = False
    wait(lambda: writer.counts().parts == 3)
    assert writer.counts().store_error is None
    assert log.table().num_rows == 6


def test_a_stream_that_was_taken_away_holds_up_nobody(log, rows, wait, small):
    store = AwayStore(log.store)
    writer = log.writer(limits=small(max_rows=1), store=store)
    for _ in range(3):
        writer.offer(rows(2))
        wait(lambda: writer.counts().waiting == 0)
    wait(lambda: writer.counts().failures > 0)
    min(log.spool.rglob("*.arrows"), key=lambda path: path.name).unlink()
    store.away = False
    wait(lambda: writer.counts().parts == 2)
    assert writer.counts().store_error is None
    assert log.table().num_rows == 4
    assert writer._roller.size == 0
    assert not list(log.spool.rglob("*.arrows"))


def test_streams_that_wait_for_the_store_are_bounded(log, rows, wait, small):
    store = AwayStore(log.store)
    writer = log.writer(limits=small(max_rows=1, spool_bytes=20_000), store=store)
    while not writer.counts().dropped:
        writer.offer(rows(2))
        wait(lambda: writer.counts().waiting == 0)
    assert writer.counts().dropped == {"spool_full": 2}
    assert log.table().num_rows == writer.counts().stored
    store.away = False
    wait(lambda: writer.counts().parts == writer.counts().stored / 2)
    writer.offer(rows(2))
    wait(lambda: writer.counts().waiting == 0)
    assert writer.counts().dropped == {"spool_full": 2}
    assert log.table().num_rows == writer.counts().stored


def test_what_the_store_does_not_take_until_the_end_is_left_to_the_next_writer(log, rows, wait):
    writer = log.writer(store=AwayStore(log.store))
    writer.offer(rows(5))
    writer.close(timeout_s=0.5)
    assert log.parts() == []
    assert log.table().num_rows == 5
    after = log.writer()
    wait(lambda: after.counts().recovered == 5)
    assert log.table().num_rows == 5


def test_what_is_added_while_a_slow_store_deletes_is_finished_at_the_end(log, rows, monkeypatch):
    asked, answers = threading.Event(), threading.Event()

    def slow(*_):
        asked.set()
        assert answers.wait(60)
        return 0

    monkeypatch.setattr("serving.log.roller.retain", slow)
    writer = log.writer()
    assert asked.wait(60)
    writer.offer(rows(5))
    close = threading.Thread(target=writer.close)
    close.start()
    while not writer._roller._stopping.is_set():
        time.sleep(0.01)
    answers.set()
    close.join()
    assert writer.counts().parts == 1
    assert list(log.spool.iterdir()) == []


@pytest.mark.parametrize("when", [-1, float("nan"), 1e300])
def test_times_that_are_none_cost_their_rows_alone(log, rows, wait, when):
    writer = log.writer()
    for given in (rows(1, time=when), rows(1)):
        writer.offer(given)
    wait(lambda: writer.counts().waiting == 0)
    counts = writer.counts()
    assert counts.stored + counts.dropped.total() == 2
    assert log.reader().find("m", "r1")


def told(*idents):
    return LabelRows("m", "1", idents, [0] * len(idents), [1e9] * len(idents), [1] * len(idents))


@pytest.mark.parametrize("number", REASONS)
@pytest.mark.parametrize("budget", [0, 100])
def test_labels_that_a_disk_does_not_take_are_counted(log, wait, monkeypatch, number, budget):
    disk = BrokenDisk(number)
    monkeypatch.setattr("serving.log.stream.os", disk)
    writer = log.writer()
    writer.offer_labels(told("a"))
    wait(lambda: writer.counts().labels == 1)
    disk.budget = budget
    writer.offer_labels(told("b", "c"))
    wait(lambda: writer.counts().labels_dropped == 2)
    assert os.strerror(number) in str(writer.counts().disk_error)
    disk.budget = None
    writer.offer_labels(told("d"))
    wait(lambda: writer.counts().labels == 2)
    assert sorted(log.table(dataset="labels")["client_id"].to_pylist()) == ["a", "d"]
    assert writer.counts().offered == 0


def test_labels_wait_for_a_store_that_is_away_as_long_as_there_is_room(log, wait, small):
    store = AwayStore(log.store)
    writer = log.writer(store=store, limits=small(max_rows=1, spool_bytes=1500))
    sent = 0
    while not writer.counts().labels_dropped:
        writer.offer_labels(told(f"r{sent}"))
        sent += 1
        assert writer.flush(30)
        assert sent < 100
    kept = writer.counts().labels
    assert 0 < kept == sent - 1
    store.away = False
    wait(lambda: writer.counts().parts == kept)
    writer.offer_labels(told("more"))
    wait(lambda: writer.counts().labels == kept + 1)
    assert log.table(dataset="labels").num_rows == kept + 1
