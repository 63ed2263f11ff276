import asyncio
import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serving.monitoring import write_ahead_log
from serving.monitoring.wal_segments import Record, Torn, records, segments
from serving.monitoring.write_ahead_log import WriteAheadLog


@pytest.fixture
def log(tmp_path: Path) -> Iterator[WriteAheadLog]:
    made = WriteAheadLog(tmp_path, "monitor")
    yield made
    made.close()


def there(folder: Path) -> list[bytes]:
    """Frames of all whole records that are on the disk."""
    return [
        bytes(record.frame)
        for path in segments(folder, "monitor").values()
        for record in records(path)
        if isinstance(record, Record)
    ]


def torn(folder: Path) -> list[Torn]:
    paths = segments(folder, "monitor").values()
    return [each for path in paths for each in records(path) if isinstance(each, Torn)]


def record(frame: bytes) -> Record:
    return Record(1.0, frame)


Fill = Callable[[int | None], None]


@pytest.fixture
def disk(monkeypatch) -> Fill:
    """Sets how many bytes fit on the disk; None: as many as there are."""
    room: list[int | None] = [None]
    writev, write = os.writev, os.write

    def take(wanted: int) -> int:
        if room[0] is None:
            return wanted
        taken = min(wanted, room[0])
        if not taken:
            raise OSError(errno.ENOSPC, "No space left on device")
        room[0] -= taken
        return taken

    def full_write(file: int, data: bytes) -> int:
        return write(file, data[: take(len(data))])

    def full_writev(file: int, parts: list[bytes]) -> int:
        joined = b"".join(parts)
        fits = take(len(joined))
        return writev(file, parts) if fits == len(joined) else write(file, joined[:fits])

    monkeypatch.setattr(write_ahead_log.os, "write", full_write)
    monkeypatch.setattr(write_ahead_log.os, "writev", full_writev)
    return lambda bytes_left: room.__setitem__(0, bytes_left)


def test_what_was_appended_is_on_the_disk_at_once_for_the_owner_only(log, tmp_path):
    assert log.append(record(b"a"))
    assert log.append(record(b"b"))
    assert there(tmp_path) == [b"a", b"b"]
    (path,) = segments(tmp_path, "monitor").values()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_every_segment_begins_with_what_it_must_begin_with(log, tmp_path):
    log.begin_anew_with(record(b"served"))
    log.append(record(b"a"))
    log.rotate()
    log.append(record(b"b"))
    log.begin_anew_with(record(b"served anew"))
    log.rotate()
    log.append(record(b"c"))
    assert there(tmp_path) == [
        b"served", b"a", b"served", b"b", b"served anew", b"served anew", b"c",
    ]  # fmt: skip


def test_a_segment_begins_with_what_was_so_before_it(log, tmp_path):
    log.begin_anew_with(record(b"served"))
    number = log.rotate()
    log.begin_anew_with(record(b"served anew"))
    log.append(record(b"a"))
    log.delete_before(number)
    assert there(tmp_path) == [b"served", b"served anew", b"a"]


def test_a_checkpoint_makes_the_segments_before_it_superfluous(log, tmp_path):
    log.append(record(b"a"))
    number = log.rotate()
    log.append(record(b"b"))
    log.delete_before(number)
    log.saved(number)
    assert there(tmp_path) == [b"b"]
    assert log.rotate() > number


def test_nothing_is_written_where_nothing_is_told(log, tmp_path):
    assert log.rotate() == log.rotate()
    assert segments(tmp_path, "monitor") == {}


def test_a_new_process_writes_behind_what_is_there(log, tmp_path):
    log.append(record(b"a"))
    number = log.rotate()
    log.append(record(b"b"))
    other = WriteAheadLog(tmp_path, "monitor")
    other.go_on(number)
    other.append(record(b"c"))
    other.close()
    assert there(tmp_path) == [b"a", b"b", b"c"]


def test_a_new_process_writes_behind_a_checkpoint_without_segments(tmp_path):
    log = WriteAheadLog(tmp_path, "monitor")
    log.go_on(7)
    log.append(record(b"a"))
    log.close()
    assert list(segments(tmp_path, "monitor")) == [7]


@pytest.mark.parametrize("room", [0, 5, 20, 30])
def test_a_full_disk_costs_what_does_not_fit_and_no_more(log, tmp_path, disk, caplog, room):
    assert log.append(record(b"a"), rows=1)
    disk(room)
    assert not log.append(record(bytes(100)), rows=30)
    assert not log.append(record(bytes(100)), rows=40)
    assert (log.missing, log.failure) == (70, "No space left on device")
    disk(None)
    assert log.append(record(b"b"), rows=1)
    assert (log.missing, log.failure) == (70, "")
    assert there(tmp_path) == [b"a", b"b"]
    assert not torn(tmp_path)
    said = [text for text in caplog.messages if "a restart would forget it" in text]
    assert len(said) == 1


def test_what_was_torn_and_cannot_be_mended_stays_behind(log, tmp_path, disk, monkeypatch):
    log.append(record(b"a"))
    disk(20)
    with monkeypatch.context() as patch:
        patch.setattr(write_ahead_log.os, "truncate", _refuse)
        assert not log.append(record(bytes(100)))
    disk(None)
    assert log.append(record(b"b"))
    assert there(tmp_path) == [b"a", b"b"]
    assert len(torn(tmp_path)) == 1


def _refuse(*_: object) -> None:
    raise OSError(errno.EIO, "Input/output error")


def test_the_beginning_is_written_once_there_is_room(log, tmp_path, disk):
    disk(12)
    log.begin_anew_with(record(b"served"))
    assert not log.append(record(b"a"))
    disk(None)
    assert log.append(record(b"b"))
    assert there(tmp_path) == [b"served", b"b"]


def test_what_was_missing_is_not_any_more_once_a_checkpoint_has_it(log, disk):
    disk(0)
    log.append(record(b"a"), rows=30)
    number = log.rotate()
    log.append(record(b"b"), rows=5)
    assert log.missing == 35
    log.saved(number)
    assert log.missing == 5


def test_a_folder_that_cannot_be_made_is_a_full_disk(tmp_path):
    (tmp_path / "file").touch()
    log = WriteAheadLog(tmp_path / "file" / "data", "monitor")
    assert not log.append(record(b"a"), rows=3)
    assert (log.missing, log.failure) == (3, "Not a directory")


def test_its_size_is_bounded_while_no_checkpoint_can_be_saved(tmp_path):
    log = WriteAheadLog(tmp_path, "monitor", most_bytes=1000)
    results = []
    for _ in range(12):
        results.append(log.append(record(bytes(100)), rows=1))
        number = log.rotate()
    assert results == [True] * 7 + [False] * 5
    assert log.missing == 5
    log.delete_before(number)
    log.saved(number)
    assert log.append(record(bytes(100)))
    log.close()


class Disk:
    """Counts `fdatasync`, and fails it on request."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.synced: list[int] = []
        self.broken = False
        monkeypatch.setattr(write_ahead_log.os, "fdatasync", self._fdatasync)

    def _fdatasync(self, file: int) -> None:
        if self.broken:
            raise OSError(errno.EIO, "Input/output error")
        self.synced.append(os.fstat(file).st_ino)


async def test_those_who_wait_for_the_disk_share_the_way_there(log, monkeypatch):
    disk = Disk(monkeypatch)
    log.append(record(b"a"))
    first = asyncio.ensure_future(log.sync())
    await asyncio.sleep(0)
    for _ in range(20):
        log.append(record(b"b"))
    await asyncio.gather(first, *(log.sync() for _ in range(20)))
    times = len(disk.synced)
    assert times in (1, 2)
    await log.sync()
    assert len(disk.synced) == times, "nothing was written since"


async def test_a_segment_that_was_left_is_synced_too(log, tmp_path, monkeypatch):
    disk = Disk(monkeypatch)
    log.append(record(b"a"))
    log.rotate()
    log.append(record(b"b"))
    await log.sync()
    inodes = [path.stat().st_ino for path in segments(tmp_path, "monitor").values()]
    assert disk.synced == inodes


async def test_a_disk_that_fails_fails_all_who_wait_and_is_left_behind(log, tmp_path, monkeypatch):
    disk = Disk(monkeypatch)
    disk.broken = True
    log.append(record(b"a"))
    waiting = [asyncio.ensure_future(log.sync()) for _ in range(3)]
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(each, OSError) for each in results)
    disk.broken = False
    log.append(record(b"b"))
    await log.sync()
    assert len(segments(tmp_path, "monitor")) == 2
    assert there(tmp_path) == [b"a", b"b"]


def test_no_file_stays_open(tmp_path):
    def open_files() -> list[Path]:
        # The listing itself is gone when it is looked at.
        files = [file for file in Path("/proc/self/fd").iterdir() if file.is_symlink()]
        return [to for file in files if tmp_path in (to := file.readlink()).parents]

    log = WriteAheadLog(tmp_path, "monitor")
    for _ in range(5):
        log.append(record(b"a"))
        number = log.rotate()
        log.saved(number)
    assert not open_files()
    log.append(record(b"a"))
    assert len(open_files()) == 1
    log.close()
    assert not open_files()
