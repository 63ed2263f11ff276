import pytest

from monitors.performance.label_join import LabelCounts
from monitors.performance.labels import JoinedRow
from serving.monitoring.group_coverage import GroupCount
from serving.monitoring.label_series import LabelSeries
from serving.telemetry.counters import SeriesSet


@pytest.fixture
def series():
    return SeriesSet()


@pytest.fixture
def labels(series):
    return LabelSeries(series, "loans", "1")


def values(series, name):
    return {
        tuple(value for key, value in one.attributes if key not in ("model", "version")): one.value
        for one in series.snapshot()
        if one.name == name
    }


def test_counts_start_at_zero_and_add_up(series, labels):
    received = "vigil.labels.received"
    outcomes = ("accepted", "duplicate", "unknown", "late")
    assert values(series, received) == {(outcome,): 0 for outcome in outcomes}
    labels.received(LabelCounts(accepted=5, duplicate=1, unknown=2, late=3, replaced=4))
    labels.received(LabelCounts(accepted=1))
    labels.expired(2)
    assert list(values(series, received).values()) == [6, 1, 2, 3]
    assert values(series, "vigil.labels.corrected") == {(): 4}
    assert values(series, "vigil.labels.expired") == {(): 2}


def test_delays_are_told_by_group_once_that_is_large(series, labels):
    large, small = GroupCount("sex", "f"), GroupCount("sex", "m")
    large.predicted, small.predicted = 20, 19
    labels.joined([JoinedRow(1, 1, delay_s=30.0, note=(large,))])
    labels.joined([JoinedRow(1, 1, delay_s=90.0, note=(small,)), JoinedRow(1, 1)])
    assert (large.labelled, small.labelled) == (1, 1)
    assert values(series, "vigil.labels.delay") == {(): 120}
    assert values(series, "vigil.labels.delay.by_group") == {("sex", "f"): 30}
