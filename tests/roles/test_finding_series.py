import math
from dataclasses import replace

import pytest

from monitors.finding import Finding
from serving.roles.finding_series import FindingSeries
from serving.telemetry.counters import SeriesSet


@pytest.fixture
def series() -> SeriesSet:
    return SeriesSet()


@pytest.fixture
def shown(series) -> FindingSeries:
    return FindingSeries(series, "loans", "1")


def finding(monitor: str, metric: str, subject: str, value: float, **more) -> Finding:
    return Finding(
        monitor=monitor, metric=metric, subject=subject, value=value, threshold=0.1,
        direction="above", breached=False, n_reference=0, n_current=100, window=(0.0, 1.0), **more,
    )  # fmt: skip


def gauges(series: SeriesSet) -> dict[str, float]:
    return {one.name: one.value for one in series.snapshot() if one.kind == "gauge"}


DISPARITY = finding("fairness", "demographic_parity_difference", "sex", 0.3, ci=(0.2, 0.4))


def test_a_value_that_becomes_unknown_has_no_series_any_more(series, shown):
    shown.show("fairness", [DISPARITY])
    assert len(gauges(series)) == 3
    shown.show("fairness", [replace(DISPARITY, value=math.nan, ci=None, breached=None)])
    assert gauges(series) == {}
    shown.show("fairness", [replace(DISPARITY, value=0.1)])
    assert 0.1 in gauges(series).values()


def test_an_attribute_that_is_not_judged_any_more_goes_too(series, shown):
    shown.show("fairness", [DISPARITY, replace(DISPARITY, subject="age")])
    assert len(series.snapshot()) == 7  # with the counter of alarms
    shown.show("fairness", [DISPARITY])
    assert len(series.snapshot()) == 4


def test_of_several_windows_the_last_one_counts(series, shown):
    shown.show("fairness", [replace(DISPARITY, value=0.5), replace(DISPARITY, value=math.nan)])
    assert 0.5 not in gauges(series).values()


def test_monitors_do_not_disturb_each_other(series, shown):
    shown.show("drift", [finding("drift", "psi", "x", 0.2, p_value=0.5)])
    shown.show("performance", [finding("performance", "accuracy", "", 0.9)])
    shown.coverage(0.5)
    shown.hide("drift")
    assert sorted(gauges(series).values()) == [0.5, 0.9]
    shown.end()
    assert gauges(series) == {}


def test_alarms_are_counted_from_zero_and_stay(series, shown):
    assert [one.value for one in series.snapshot()] == [0]
    shown.count_alarms([replace(finding("drift", "drifted_features", "", 1.0), breached=True)])
    shown.end()
    assert [one.value for one in series.snapshot()] == [1]
