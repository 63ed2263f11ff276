"""What an instance says of its prediction log."""

from __future__ import annotations

from collections import Counter

from serving.log.counts import LogCounts
from serving.monitoring.log_status import TOLD_S, LogStatus
from serving.telemetry.counters import SeriesSet


class Clock:
    """Seconds since the epoch, which tests set."""

    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_metrics_are_the_writers_counts() -> None:
    series = SeriesSet()
    counts = LogCounts(
        offered=100, stored=70, sampled_out=10, dropped=Counter(disk_full=4, unwritable=1),
        waiting=15, parts=2, failures=3, labels=8, labels_dropped=6,
    )  # fmt: skip
    LogStatus(series, Clock()).update(counts)
    found = {(each.name, *(value for _, value in each.attributes)): each.value
             for each in series.snapshot()}  # fmt: skip
    assert found == {
        ("vigil.store.rows",): 70, ("vigil.store.sampled_out",): 10, ("vigil.store.errors",): 3,
        ("vigil.store.parts",): 2, ("vigil.store.waiting",): 15,
        ("vigil.store.labels",): 8, ("vigil.store.labels.dropped",): 6,
        ("vigil.store.dropped", "disk_full"): 4, ("vigil.store.dropped", "unwritable"): 1,
    }  # fmt: skip


def test_a_log_that_is_well_says_nothing() -> None:
    assert LogStatus(SeriesSet(), Clock()).notes(LogCounts(offered=5, stored=5)) == ()


def test_each_time_that_rows_are_lost_is_told_by_itself() -> None:
    clock = Clock()
    status = LogStatus(SeriesSet(), clock)
    status.update(LogCounts(dropped=Counter(disk_full=3)))
    clock.now += TOLD_S
    (note,) = status.notes(LogCounts(dropped=Counter(disk_full=5), disk_error="no\nspace"))
    assert note == (
        "the prediction log has lost 5 rows since 1970-01-12 13:46:40 UTC: the disk is full "
        "(no space)"
    )
    clock.now += TOLD_S + 1
    assert status.notes(LogCounts(dropped=Counter(disk_full=5))) == ()
    (note,) = status.notes(LogCounts(dropped=Counter(disk_full=7)))
    assert (
        note == "the prediction log has lost 2 rows since 1970-01-12 15:46:41 UTC: the disk is full"
    )


def test_what_the_store_and_the_sensitive_rows_suffer() -> None:
    counts = LogCounts(store_error="the bucket is away", sensitive_dropped=4, labels_dropped=2)
    sensitive, labels, store = LogStatus(SeriesSet(), Clock()).notes(counts)
    assert sensitive == "the prediction log lacks the sensitive values of 4 rows"
    assert labels == "the prediction log lacks 2 labels, which the monitor has"
    assert store == (
        "files of the prediction log cannot be written to its store, and it is tried again: the "
        "bucket is away"
    )
