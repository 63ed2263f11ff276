from pathlib import Path

import msgspec
import pytest

from serving.channel.frames import FrameError
from serving.errors import InvalidInput
from serving.monitoring.replay import MOST_ATTEMPTS, Replay, Replayed
from serving.monitoring.wal_segments import Record, segments
from serving.monitoring.write_ahead_log import WriteAheadLog


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Segments 1 to 3 with a frame each."""
    log = WriteAheadLog(tmp_path, "monitor")
    for frame in (b"a", b"b", b"c"):
        log.append(Record(1.0, frame))
        log.rotate()
    log.close()
    return tmp_path


class Told:
    """Takes records in, and counts three rows for each; raises what it is given for one of them."""

    def __init__(self, errors: dict[bytes, BaseException] | None = None) -> None:
        self.frames: list[bytes] = []
        self._errors = errors or {}

    def __call__(self, record: Record) -> int:
        self.frames.append(bytes(record.frame))
        if error := self._errors.get(bytes(record.frame)):
            raise error
        return 3


@pytest.mark.parametrize(
    ("first", "expected"), [(0, [b"a", b"b", b"c"]), (2, [b"b", b"c"]), (9, [])]
)
def test_what_a_checkpoint_has_is_left_out(folder, first, expected):
    told = Told()
    done = Replay(folder, "monitor", told).run(first)
    assert told.frames == expected
    assert done == Replayed(len(expected), 3 * len(expected), 0)


def test_what_belongs_to_no_state_is_kept_aside(folder):
    told = Told()
    assert Replay(folder, "monitor", told).run(None) == Replayed()
    assert told.frames == []
    assert segments(folder, "monitor") == {}
    assert len(list(folder.glob("*.unreadable"))) == 3


def test_a_torn_segment_does_not_keep_the_next_one_from_being_read(folder, caplog):
    caplog.set_level("INFO")
    with segments(folder, "monitor")[1].open("ab") as file:
        file.write(b"half a rec")
    told = Told()
    assert Replay(folder, "monitor", told).run(0).torn == 1
    assert told.frames == [b"a", b"b", b"c"]
    assert any("10 bytes are left out" in said for said in caplog.messages)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (InvalidInput("no"), None),
        (FrameError("junk"), "a saved message cannot be read"),
        (msgspec.DecodeError("junk"), "a saved message cannot be read"),
        (RuntimeError("bug"), "a saved message cannot be taken in"),
    ],
)
def test_a_message_that_cannot_be_taken_in_costs_no_other(folder, caplog, error, said):
    told = Told({b"b": error})
    Replay(folder, "monitor", told).run(0)
    assert told.frames == [b"a", b"b", b"c"]
    assert list(caplog.messages) == ([said] if said else [])


def test_progress_is_told_when_it_takes_long(folder, caplog):
    caplog.set_level("INFO")
    Replay(folder, "monitor", Told(), seconds=iter(range(100)).__next__).run(0)
    assert [said for said in caplog.messages if "MiB so far" in said]
    caplog.clear()
    Replay(folder, "monitor", Told(), seconds=lambda: 0.0).run(0)
    (said,) = caplog.messages
    assert said.endswith("it takes in again 3 messages with 9 rows, all there are")


def test_what_ends_the_process_every_time_is_given_up(folder):
    class Ended(BaseException):
        """The process is gone."""

    told = Told({b"b": Ended()})
    for _ in range(MOST_ATTEMPTS):
        with pytest.raises(Ended):
            Replay(folder, "monitor", told).run(0)
    told.frames.clear()
    assert Replay(folder, "monitor", told).run(0) == Replayed()
    assert told.frames == []
    assert len(list(folder.glob("*.unreadable"))) == 3
    assert Replay(folder, "monitor", told).run(0) == Replayed()


def test_a_replay_that_ends_is_no_attempt(folder):
    for _ in range(MOST_ATTEMPTS + 1):
        assert Replay(folder, "monitor", Told()).run(0).records == 3
