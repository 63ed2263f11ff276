"""The file of traces: its size, who may read it, and what a slow or broken disk costs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.dataplane.hooks.trace_file import MOST_BYTES, MOST_WAITING, TraceFile


def wait_for(condition: Callable[[], object]) -> None:
    """Wait for the thread that writes."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_traces_are_appended_in_their_order_to_a_folder_that_is_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "t.jsonl"
    for first in (1, 3):  # a second gateway process goes on where the first ended
        file = TraceFile(path)
        file.write([b"%d\n" % first, b"%d\n" % (first + 1)])
        file.write([])
        file.close()
        assert file.dropped == 0
    assert path.read_bytes() == b"1\n2\n3\n4\n"
    assert MOST_BYTES == 16 << 20


def test_a_file_may_be_exactly_full(tmp_path: Path) -> None:
    path, aside = tmp_path / "t.jsonl", tmp_path / "t.jsonl.1"
    file = TraceFile(path, most_bytes=4)
    file.write([b"ab\n", b"\n"])
    file.close()
    assert (path.read_bytes(), aside.exists()) == (b"ab\n\n", False)
    file = TraceFile(path, most_bytes=4)
    file.write([b"\n"])
    file.close()
    assert (path.read_bytes(), aside.read_bytes()) == (b"\n", b"ab\n\n")


def test_one_trace_may_be_longer_than_a_file(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    file = TraceFile(path, most_bytes=4)
    file.write([b"much longer\n"])
    file.close()
    assert path.read_bytes() == b"much longer\n"
    assert not (tmp_path / "t.jsonl.1").exists()


def test_a_file_that_is_full_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    file = TraceFile(path, most_bytes=25)
    for number in range(7):
        file.write([b"line %d....\n" % number])
    file.close()
    assert path.read_bytes() == b"line 6....\n"
    assert (tmp_path / "t.jsonl.1").read_bytes() == b"line 4....\nline 5....\n"
    assert {each.stat().st_mode & 0o777 for each in tmp_path.iterdir()} == {0o600}


def test_a_file_of_an_earlier_release_is_closed_to_others(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text("old\n")
    path.chmod(0o644)
    file = TraceFile(path)
    file.write([b"new\n"])
    file.close()
    assert path.read_text() == "old\nnew\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_the_disk_does_not_keep_up_with_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, written = threading.Event(), []

    def append(_file: TraceFile, data: bytes) -> None:
        go_on.wait(60)
        written.append(len(data))

    monkeypatch.setattr(TraceFile, "_append", append)
    file = TraceFile(tmp_path / "t.jsonl")
    half = bytes(MOST_WAITING // 2)
    for traces in ([half, half, half], [b"more"]):
        file.write(traces)
    assert file.dropped == 1
    go_on.set()
    file.close()
    assert written == [3 * len(half)]


def test_a_folder_that_cannot_be_made_costs_traces_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    file = TraceFile(tmp_path / "file" / "t.jsonl")
    file.write([b"a\n", b"b\n"])
    file.close()
    assert file.dropped == 2


def test_a_disk_that_fails_is_told_once_and_again_when_it_fails_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "folder"
    folder.write_text("")  # no folder can be made where a file is
    file = TraceFile(folder / "t.jsonl")
    for number in (1, 2):
        file.write([b"a\n"])
        wait_for(lambda number=number: file.dropped == number)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "traces cannot be written: " in caplog.text
    folder.unlink()
    file.write([b"b\n"])
    wait_for((folder / "t.jsonl").exists)
    file.write([b"c\n"])
    file.close()
    assert file.dropped == 2
    assert (folder / "t.jsonl").read_bytes() == b"b\nc\n"
