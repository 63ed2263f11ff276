from datetime import UTC, datetime, timedelta

import pytest

from serving.log.layout import Part
from serving.log.retention import Retention, all_parts, expired, retain

DAY = "model=m/version=1/date=2026-11-"
END = datetime(2026, 12, 1, tzinfo=UTC)


def _parts(*days, dataset="predictions", size=10):
    return [Part(dataset, f"{DAY}{day:02}", f"{day:04}", size) for day in days]


@pytest.mark.parametrize(
    ("days", "now", "gone"),
    [
        (1, END, [28, 29]),  # the 29th ended a day ago
        (1, END - timedelta(seconds=1), [28]),
        (2, END, [28]),
        (3, END, []),
        (0.5, END + timedelta(hours=12), [28, 29, 30]),
    ],
)
def test_a_part_goes_when_all_of_its_day_is_too_old(days, now, gone):
    parts = _parts(28, 29, 30)
    expected = [part for part in parts if int(part.name) in gone]
    assert expired(parts, Retention(days, 1e6, 1e9), now) == expected


def test_beyond_the_size_the_oldest_go():
    parts = _parts(28, 29, 30)
    for most, left in ((30, 3), (29, 2), (20, 2), (10, 1), (9, 0)):
        assert len(parts) - len(expired(parts, Retention(1e6, 1e6, most), END)) == left
    assert expired(parts, Retention(1e6, 1e6, 10), END) == parts[:2]


def test_sensitive_features_have_days_of_their_own():
    parts = _parts(28, dataset="sensitive") + _parts(28)
    assert expired(parts, Retention(100, 1, 1e9), END) == parts[:1]


def test_parts_and_their_indexes_are_deleted_and_nothing_else(log, rows):
    writer = log.writer()
    for when in (END, END - timedelta(days=5)):
        writer.offer(rows(2, time=when.timestamp(), sensitive={"sex": ["F", "M"]}))
    writer.close()
    other = log.folder / "predictions" / "notes.txt"
    other.write_text("mine")
    assert retain(log.store, Retention(2, 1, 1e9), END + timedelta(days=1)) == 2
    assert {part.folder for part in all_parts(log.store)} == {"model=m/version=1/date=2026-12-01"}
    assert len(list(log.folder.rglob("*.ids"))) == 2
    assert other.exists()
    assert log.table().num_rows == 2


def test_indexes_count_for_the_size(log, rows):
    writer = log.writer()
    writer.offer(rows(*[1] * 1000))
    writer.close()
    [part] = all_parts(log.store)
    index = log.folder / part.ids
    assert index.stat().st_size > 1000
    size = part.size + index.stat().st_size
    assert retain(log.store, Retention(1e5, 1e5, size), END) == 0
    assert retain(log.store, Retention(1e5, 1e5, size - 1), END) == 1


def test_a_writer_deletes_what_is_too_old(log, rows, wait):
    writer = log.writer()
    writer.offer(rows(2, time=1e9))
    writer.close()
    second = log.writer(retention=Retention(30, 30, 1e12))
    wait(lambda: second.counts().deleted == 1)
    assert log.parts() == []
