from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.monitoring.wal_segments import (
    MAGIC,
    Record,
    Torn,
    head,
    path_of,
    records,
    segments,
)

FRAMES = [b"", b"one", bytes(5000)]


def written(folder: Path, frames: list[bytes] = FRAMES) -> Path:
    path = path_of(folder, "monitor", 1)
    each = [Record(float(at), frame) for at, frame in enumerate(frames)]
    path.write_bytes(MAGIC + b"".join(head(record) + bytes(record.frame) for record in each))
    return path


def test_records_come_back_in_their_order(tmp_path: Path):
    expected = [Record(0.0, b""), Record(1.0, b"one"), Record(2.0, bytes(5000))]
    assert list(records(written(tmp_path))) == expected


@given(cut=st.integers(1, 5015))
def test_an_end_that_was_cut_off_is_told_and_left_out(tmp_path_factory, cut):
    path = written(tmp_path_factory.mktemp("wal"))
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(size - cut)
    *whole, torn = records(path)
    assert whole == [Record(0.0, b""), Record(1.0, b"one")]
    assert torn == Torn(path, 5016 - cut)


@given(at=st.integers(0, 5016 + 16 + 19 - 1), bit=st.integers(0, 7))
def test_what_was_changed_is_no_record(tmp_path_factory, at, bit):
    path = written(tmp_path_factory.mktemp("wal"))
    content = bytearray(path.read_bytes())
    content[len(MAGIC) + at] ^= 1 << bit
    path.write_bytes(content)
    *whole, torn = records(path)
    assert isinstance(torn, Torn)
    assert whole == [Record(0.0, b""), Record(1.0, b"one")][: len(whole)]


@pytest.mark.parametrize("content", [b"", b"VIGIL", b"another format\n"])
def test_another_format_holds_no_record(tmp_path: Path, content: bytes):
    path = path_of(tmp_path, "monitor", 3)
    path.write_bytes(content)
    assert list(records(path)) == [Torn(path, len(content))]


def test_segments_are_found_in_the_order_of_their_numbers(tmp_path: Path):
    for name in ("monitor.10.wal", "monitor.9.wal", "monitor-2.1.wal", "monitor.x.wal"):
        (tmp_path / name).touch()
    assert list(segments(tmp_path, "monitor")) == [9, 10]
    assert segments(tmp_path / "nowhere", "monitor") == {}
