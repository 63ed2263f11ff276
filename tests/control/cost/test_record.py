"""The hourly record: what a restart finds, what is dropped, and what a damaged file costs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from serving.control.cost.record import MOST_HELD, CostRecord, Hour

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp()
HOUR = 3600.0
DAY = 24 * HOUR


def hours(record: CostRecord, since: float = 0.0) -> list[Hour]:
    return record.read(since)


def test_amounts_of_an_hour_add_up() -> None:
    record = CostRecord(Path("nowhere"))
    record.add(NOON + 10, 10.0, {"rows", "cpu/replica"}, {"a": {"rows": 3, "cpu/replica": 0.5}})
    record.add(NOON + 15, 5.0, {"rows"}, {"a": {"rows": 1, "cpu/replica": 0}, "b": {"rows": 0}})
    record.add(NOON + HOUR, 5.0, {"rows"}, {"b": {"rows": 7}})
    assert hours(record) == [
        Hour(int(NOON), NOON, 15.0, {"rows": 15.0, "cpu/replica": 10.0},
             {"a": {"rows": 4, "cpu/replica": 0.5}}),
        Hour(int(NOON + HOUR), NOON + HOUR - 5, 5.0, {"rows": 5.0}, {"b": {"rows": 7}}),
    ]  # fmt: skip
    assert [hour.start for hour in hours(record, NOON + HOUR + 59)] == [NOON + HOUR]


def test_a_restart_goes_on_within_the_same_hour(tmp_path: Path) -> None:
    record = CostRecord(tmp_path / "costs")
    record.load(NOON)
    record.add(NOON + 5, 5.0, {"rows"}, {"a": {"rows": 3, "energy/rapl": 9_007_199_254_740_991}})
    record.write(NOON + 5)
    again = CostRecord(tmp_path / "costs")
    again.load(NOON + 60)
    again.add(NOON + 65, 5.0, {"rows"}, {"a": {"rows": 1}})
    again.write(NOON + 65)
    (hour,) = hours(CostRecord(tmp_path / "costs"))
    assert hour == Hour(
        int(NOON), NOON, 10.0, {"rows": 10.0},
        {"a": {"rows": 4, "energy/rapl": 9_007_199_254_740_991}},
    )  # fmt: skip
    assert [path.name for path in (tmp_path / "costs").iterdir()] == ["2026-11-30.json"]


def test_days_that_are_over_are_read_from_their_files(tmp_path: Path) -> None:
    record = CostRecord(tmp_path)
    for day in range(3):
        record.add(NOON + day * DAY, 5.0, {"rows"}, {"a": {"rows": day + 1}})
        record.write(NOON + day * DAY)
    assert [hour.models["a"]["rows"] for hour in hours(record)] == [1, 2, 3]
    assert [hour.models["a"]["rows"] for hour in hours(record, NOON + DAY)] == [2, 3]


def test_what_is_older_than_31_days_is_dropped_and_other_files_are_left(tmp_path: Path) -> None:
    record = CostRecord(tmp_path)
    (tmp_path / "notes.json").write_text("{}")
    record.add(NOON, 5.0, {"rows"}, {"a": {"rows": 1}})
    record.write(NOON + 31 * DAY + 11 * HOUR)
    assert (tmp_path / "2026-11-30.json").exists()
    record.write(NOON + 31 * DAY + 13 * HOUR)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.json"]


def test_days_that_cannot_be_written_stay_and_are_bounded(tmp_path: Path) -> None:
    folder = tmp_path / "costs"
    record = CostRecord(folder)
    record.add(NOON, 5.0, {"rows"}, {"a": {"rows": 1}})
    record.write(NOON)
    folder.rename(tmp_path / "away")
    folder.write_text("a file where the folder should be")
    for number in range(1, 24 * (MOST_HELD + 1)):
        record.add(NOON + number * HOUR, 5.0, {"rows"}, {"a": {"rows": 1}})
        with pytest.raises(OSError, match=r"Not a directory|File exists"):
            record.write(NOON + number * HOUR)
    held = hours(record)
    assert len({datetime.fromtimestamp(hour.start, UTC).date() for hour in held}) == MOST_HELD
    folder.unlink()
    (tmp_path / "away").rename(folder)
    record.write(NOON + number * HOUR)
    # Of the first day there is what was written before, and of the last ones all that was held.
    assert hours(record)[0].start == NOON
    assert hours(record)[1:] == held
    assert all(hour.models == {"a": {"rows": 1}} for hour in held)


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b'{"format": 99, "hours": []}'])
def test_a_file_that_is_none_is_set_aside(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "2026-11-30.json").write_bytes(content)
    record = CostRecord(tmp_path)
    with pytest.raises(ValueError, match=r"."):
        record.load(NOON)
    assert (tmp_path / "2026-11-30.damaged").read_bytes() == content
    assert hours(record) == []
    record.add(NOON, 5.0, {"rows"}, {"a": {"rows": 1}})
    record.write(NOON)
    assert len(hours(record)) == 1


def test_an_older_file_that_is_damaged_leaves_the_others(tmp_path: Path) -> None:
    record = CostRecord(tmp_path)
    record.add(NOON, 5.0, {"rows"}, {"a": {"rows": 1}})
    record.write(NOON)
    (tmp_path / "2026-11-29.json").write_text("{")
    assert [hour.start for hour in hours(record)] == [NOON]


def test_a_clock_that_is_set_back_over_midnight_loses_nothing(tmp_path: Path) -> None:
    midnight = NOON + 12 * HOUR
    record = CostRecord(tmp_path)
    record.load(NOON)
    record.add(NOON, 5.0, {"rows"}, {"a": {"rows": 1}})
    record.add(midnight - 10, 5.0, {"rows"}, {"a": {"rows": 2}})
    record.add(midnight + 5, 5.0, {"rows"}, {"a": {"rows": 4}})
    record.write(midnight + 5)
    record.add(midnight - 5, 5.0, {"rows"}, {"a": {"rows": 8}})

    def rows() -> list[float]:
        return [hour.models["a"]["rows"] for hour in hours(record)]

    assert rows() == [1, 10, 4]  # not written yet
    record.write(midnight - 5)
    record.write(midnight - 5)
    assert rows() == [1, 10, 4]
    record.add(midnight + 10, 5.0, {"rows"}, {"a": {"rows": 16}})
    record.write(midnight + 10)
    assert rows() == [1, 10, 20]
    last = hours(record)[1]
    assert (last.seconds, last.told) == (10.0, {"rows": 10.0})


def test_a_file_that_could_not_be_read_at_the_start_is_not_overwritten(tmp_path: Path) -> None:
    before = CostRecord(tmp_path)
    before.add(NOON, 5.0, {"rows"}, {"a": {"rows": 1}})
    before.write(NOON)
    record = CostRecord(tmp_path)  # which never loads
    record.add(NOON + 60, 5.0, {"rows"}, {"a": {"rows": 2}})
    record.write(NOON + 60)
    (hour,) = hours(CostRecord(tmp_path))
    assert hour.models == {"a": {"rows": 3}}
