"""What labels need of streams that grow: each row is read once, and found at any time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from serving.log.keyed_rows import WantedKeys
from serving.log.layout import Partition
from serving.log.predicted_streams import PredictedStreams
from serving.log.retention import all_parts
from serving.log.spool import stream_file
from serving.log.stream import OpenStream

FOLDER = Partition("m", "1", "2026-11-30").folder


def batch(first: int, count: int, *, predicted: bool = True) -> Any:
    """Return rows of requests named r<number>, whose class is the number."""
    numbers = np.arange(first, first + count)
    columns = {
        "client_id": pa.array([f"r{number}" for number in numbers], pa.string()),
        "index": pa.array(np.zeros(count), pa.int32()),
        "time": pa.array(numbers * 1_000_000).cast(pa.timestamp("us", "UTC")),
    }
    return pa.record_batch(columns | ({"predicted": pa.array(numbers)} if predicted else {}))


class Stream:
    """A stream that grows, and what it is found by."""

    def __init__(self, spool: Path, name: str = "0") -> None:
        self.file = stream_file(spool, "predictions", FOLDER, name)
        self._open: OpenStream | None = None

    def append(self, rows: Any) -> None:
        if self._open is None:
            self._open = OpenStream(self.file.path, rows.schema)
        self._open.append(rows)

    def close(self) -> None:
        if self._open is not None:
            self._open.close()


@pytest.fixture
def stream(tmp_path):
    made = []

    def make(name="0"):
        made.append(Stream(tmp_path, name))
        return made[-1]

    yield make
    for each in made:
        each.close()


def found(streams, stream, *numbers):
    wanted = WantedKeys([(f"r{number}", 0) for number in numbers])
    return sorted(each.predicted for each in streams.find(stream.file, wanted))


def test_what_was_read_is_not_read_again(stream):
    growing, streams = stream(), PredictedStreams()
    growing.append(batch(0, 100))
    assert found(streams, growing, 3, 99, 100) == [3, 99]
    size = growing.file.path.stat().st_size
    growing.append(batch(100, 100))
    with growing.file.path.open("r+b") as file:
        file.write(bytes(size))
    assert found(streams, growing, 3, 99, 100, 199, 200) == [3, 99, 100, 199]


def test_a_torn_message_is_read_when_it_is_whole(stream):
    growing, streams = stream(), PredictedStreams()
    growing.append(batch(0, 10))
    growing.append(batch(10, 10))
    path = growing.file.path
    content = path.read_bytes()
    for cut in (10, len(content) // 3, len(content) - 1):
        path.write_bytes(content[:cut])
        found(streams, growing, 1)
    assert found(streams, growing, 1, 11) == [1]
    path.write_bytes(content)
    assert found(streams, growing, 1, 11) == [1, 11]


def test_many_small_appends_make_few_pieces(stream):
    growing, streams = stream(), PredictedStreams()
    for number in range(300):
        growing.append(batch(number, 1))
        assert found(streams, growing, number, number + 1) == [number]
    (pieces,) = streams._kept.values()
    assert len(pieces.pieces) < 10
    assert found(streams, growing, *range(300)) == list(range(300))


def test_every_row_of_one_key_is_found(stream):
    growing, streams = stream(), PredictedStreams()
    for _ in range(3):
        growing.append(batch(0, 5))
        growing.append(batch(0, 2))
    assert found(streams, growing, 1, 4) == [1] * 6 + [4] * 3


def test_what_was_used_last_is_kept_within_a_size_and_the_rest_is_read_again(stream):
    both, streams = [stream("0"), stream("1")], PredictedStreams(most_bytes=1)
    for _ in range(2):
        for at, growing in enumerate(both):
            growing.append(batch(at, 1))
            assert set(found(streams, growing, at)) == {at}
            assert list(streams._kept) == [growing.file]
    assert found(streams, both[0], 0) == [0, 0]


def test_streams_without_what_was_predicted_and_without_rows(stream):
    growing, streams = stream(), PredictedStreams()
    growing.append(batch(0, 0))
    assert found(streams, growing, 0) == []
    growing.append(batch(0, 1))
    assert found(streams, growing, 0) == [0]
    other = stream("1")
    other.append(batch(0, 3, predicted=False))
    assert found(streams, other, 0) == []


def test_a_stream_that_becomes_a_part_is_let_go(log, rows):
    made = rows(1, predicted=lambda outputs: outputs["y"][:, 0])
    key = (made.requests.client_ids[0], 0)
    writer, reader = log.writer(), log.reader()
    writer.offer(made)
    assert writer.flush(10)
    for _ in range(2):
        assert [each.key for each in reader.find_many("m", [key])] == [key]
    assert len(reader._predicted_streams._kept) == 1
    writer.close()
    assert len(all_parts(log.store)) == 1
    assert [each.key for each in reader.find_many("m", [key])] == [key]
    assert not reader._predicted_streams._kept
