import pytest

from monitors.performance.label_join import LabelCounts
from monitors.performance.labels import JoinedRow
from serving.monitoring.group_coverage import GroupCoverage
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
    groups = GroupCoverage({"sex": ["f", "m"]})
    groups.restore({"sex": {"f": [20, 0], "m": [19, 0]}})
    labels.joined([JoinedRow(1, 1, delay_s=30.0, groups={"sex": "f"})], groups)
    late = JoinedRow(1, 1, delay_s=90.0, groups={"sex": "m"})
    labels.joined([late, JoinedRow(1, 1, groups={"sex": None})], groups)
    assert groups.state() == {"sex": {"f": [20, 1], "m": [19, 1], "other": [0, 0]}}
    assert values(series, "vigil.labels.delay") == {(): 120}
    assert values(series, "vigil.labels.delay.by_group") == {("sex", "f"): 30}
