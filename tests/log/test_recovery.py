"""Writers that are killed, and those that come after them."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest

from serving.log.roll import roll
from serving.log.spool import SpoolFolder, all_streams

CHILD = """
import sys, time
from pathlib import Path
import numpy as np
from serving.dataplane.hooks.record_ids import new_record_id
from serving.log.retention import Retention
from serving.log.rows import LoggedBatches, LoggedRequests, LogRows
from serving.log.store import open_store
from serving.log.writer import LogWriter

folder = Path(sys.argv[1])
writer = LogWriter(open_store(str(folder)), folder / "open", Retention(1e5, 1e5, 1e15), {})
writer.start()
number = 0
while True:
    requests = LoggedRequests([f"r{number}"], [1], ["ok"])
    inputs = {"x": np.array([number], np.int64)}
    batches = LoggedBatches(new_record_id(), [1], [time.time()])
    writer.offer(LogRows("m", "1", batches, requests, inputs))
    number += 1
    print(time.monotonic(), number, writer.counts().stored, flush=True)
    time.sleep(0.001)
"""


def _killed(log, stored):
    """Run a writer until it has stored so many rows, and kill it; return what it said last."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(log.folder)], stdout=subprocess.PIPE, text=True
    )
    said = []
    try:
        for line in child.stdout:
            said.append([float(word) for word in line.split()])
            if said[-1][2] >= stored and said[-1][0] > said[0][0] + 1.5:
                break
    finally:
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read()
        child.stdout.close()
        child.wait()
    whole = [line for line in rest.splitlines(keepends=True) if line.endswith("\n")]
    said += [[float(word) for word in line.split()] for line in whole]
    return said


def test_a_killed_writer_loses_at_most_the_last_second(log, wait):
    said = _killed(log, 500)
    found = sorted(log.table()["in_x"].to_pylist())
    assert found == list(range(len(found)))
    ended, _, stored = said[-1]
    assert len(found) >= stored
    assert len(found) >= max(count for when, count, _ in said if when <= ended - 1)
    after = log.writer()
    wait(lambda: not list(log.spool.rglob("*.arrows")))
    assert after.counts().recovered == len(found)
    assert sorted(log.table()["in_x"].to_pylist()) == found


@pytest.mark.parametrize("cut", [1, 7, 200])
def test_a_torn_last_record_is_cut_off_and_counted(log, rows, wait, cut):
    whole, stream = _left_behind(log, rows, wait)
    with stream.open("r+b") as file:
        file.truncate(stream.stat().st_size - cut)
    assert log.table().num_rows == whole - 2
    after = log.writer()
    wait(lambda: after.counts().parts == 1)
    assert (after.counts().recovered, after.counts().torn) == (whole - 2, 1)
    assert log.table().num_rows == whole - 2


def test_a_stream_without_a_whole_schema_holds_nothing(log, rows, wait):
    _, stream = _left_behind(log, rows, wait)
    with stream.open("r+b") as file:
        file.truncate(20)
    assert log.reader().find("m", "r0") == []
    after = log.writer()
    wait(lambda: not stream.exists())
    wait(lambda: after.counts().torn == 1)
    assert log.parts() == []


def test_a_living_writers_streams_are_left_alone(log, rows, wait):
    first = log.writer()
    first.offer(rows(2))
    wait(lambda: first.counts().stored == 2)
    second = log.writer()
    second.offer(rows(1))
    second.close()
    assert second.counts().recovered == 0
    assert log.table().num_rows == 3
    first.offer(rows(1))
    first.close()
    assert log.table().num_rows == 4
    assert list(log.spool.iterdir()) == []


def test_rows_of_a_stream_that_was_rolled_but_not_deleted_are_there_once(log, rows, wait):
    whole, path = _left_behind(log, rows, wait)
    [stream] = all_streams(log.spool, "predictions")
    kept = path.read_bytes()
    roll(stream, log.store)
    path.write_bytes(kept)  # as if it had been killed in between
    assert len(log.parts()) == 1
    assert log.table().num_rows == whole
    assert len(log.reader().find("m", "r0")) == 2
    after = log.writer()
    wait(lambda: not path.exists())
    assert after.counts().recovered == whole
    assert len(log.parts()) == 1
    assert log.table().num_rows == whole


def _left_behind(log, rows, wait):
    """Leave a stream as a dead writer does, of two record batches; return its rows and path."""
    writer = log.writer()
    for number in (1, 2):
        writer.offer(rows(2))
        wait(lambda number=number: writer.counts().stored == 2 * number)
    [stream] = all_streams(log.spool, "predictions")
    dead = log.spool / str(UUID(int=1))
    copy = dead / stream.path.relative_to(log.spool).relative_to(
        stream.path.relative_to(log.spool).parts[0]
    )
    copy.parent.mkdir(parents=True)
    shutil.copy(stream.path, copy)
    writer.close()
    for folder in ("predictions", "index"):
        shutil.rmtree(log.folder / folder)
    return 4, copy


def test_two_writers_never_hold_one_folder(tmp_path):
    first = SpoolFolder(tmp_path / "w")
    with pytest.raises(BlockingIOError):
        SpoolFolder(tmp_path / "w")
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(BlockingIOError):
        SpoolFolder(tmp_path / "w")
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
    first.remove()
    assert not (tmp_path / "w").exists()
