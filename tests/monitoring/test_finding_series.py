import math
from dataclasses import replace

import pytest

from monitors.finding import Finding
from serving.monitoring.finding_series import FindingSeries
from serving.monitoring.group_coverage import GroupCount
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
    assert gauges(series) == {
        "vigil.finding.value": 0.3,
        "vigil.finding.breached": 0.0,
        "vigil.finding.ci.lower": 0.2,
        "vigil.finding.ci.upper": 0.4,
        "vigil.finding.rows": 100.0,
        "vigil.fairness.disparity": 0.3,
        "vigil.fairness.disparity.ci.lower": 0.2,
        "vigil.fairness.disparity.ci.upper": 0.4,
    }
    shown.show("fairness", [replace(DISPARITY, value=math.nan, ci=None, breached=None)])
    assert gauges(series) == {}
    shown.show("fairness", [replace(DISPARITY, value=0.1)])
    assert 0.1 in gauges(series).values()


def test_what_is_shown_later_is_there_once_somebody_looks(series, shown):
    shown.show_later("fairness", [replace(DISPARITY, value=0.7)])
    shown.show_later("fairness", [DISPARITY])
    assert gauges(series) == {}
    shown.catch_up()
    assert gauges(series)["vigil.finding.value"] == 0.3
    shown.show("fairness", [replace(DISPARITY, value=0.5)])
    shown.catch_up()
    assert gauges(series)["vigil.finding.value"] == 0.5


@pytest.mark.parametrize("ended", [lambda shown: shown.hide("fairness"), lambda shown: shown.end()])
def test_what_has_ended_is_not_shown_later(series, shown, ended):
    shown.show_later("fairness", [DISPARITY])
    ended(shown)
    shown.catch_up()
    assert gauges(series) == {}


def test_an_attribute_that_is_not_judged_any_more_goes_too(series, shown):
    shown.show("fairness", [DISPARITY, replace(DISPARITY, subject="age")])
    assert len(series.snapshot()) == 2 * 8 + 1  # with the counter of alarms
    shown.show("fairness", [DISPARITY])
    assert len(series.snapshot()) == 8 + 1


def test_of_several_windows_the_last_one_counts(series, shown):
    shown.show("fairness", [replace(DISPARITY, value=0.5), replace(DISPARITY, value=math.nan)])
    assert 0.5 not in gauges(series).values()


def test_monitors_do_not_disturb_each_other(series, shown):
    shown.show("drift", [finding("drift", "psi", "x", 0.2, p_value=0.5)])
    shown.show("performance", [finding("performance", "accuracy", "", 0.9)])
    shown.labels(0.5, {}, [])
    shown.hide("drift")
    assert gauges(series) == {
        "vigil.finding.value": 0.9,
        "vigil.finding.breached": 0.0,
        "vigil.finding.rows": 100.0,
        "vigil.performance.score": 0.9,
        "vigil.labels.coverage": 0.5,
    }
    shown.end()
    assert gauges(series) == {}


def test_what_labels_say_together_and_of_large_groups(series, shown):
    women, men = GroupCount("sex", "f"), GroupCount("sex", "m")
    women.predicted, women.labelled, men.predicted = 40, 10, 19
    shown.labels(0.5, {"accuracy": 0.75}, [women, men])
    found = {one.name: (one.attributes, one.value) for one in series.snapshot()}
    of = (("attribute", "sex"), ("group", "f"), ("model", "loans"), ("version", "1"))
    assert found["vigil.labels.coverage.by_group"] == (of, 0.25)
    assert found["vigil.performance.overall"][1] == 0.75


def test_alarms_are_counted_from_zero_and_stay(series, shown):
    assert [one.value for one in series.snapshot()] == [0]
    shown.count_alarms([replace(finding("drift", "drifted_features", "", 1.0), breached=True)])
    shown.end()
    assert [one.value for one in series.snapshot()] == [1]


def test_a_finding_of_any_monitor_is_told_apart_by_what_it_is_about(series, shown):
    found = [
        replace(finding("toy", "mean", "x", 2.0), breached=True),
        finding("toy", "mean", "y", 1.0),
        finding("toy", "windows", "", 7.0),
    ]
    shown.show("toy", found)
    about = {"model": "loans", "version": "1", "monitor": "toy"}
    values = {
        one.attributes: one.value for one in series.snapshot() if one.name == "vigil.finding.value"
    }
    assert values == {
        tuple(sorted({**about, "metric": "mean", "subject": "x"}.items())): 2.0,
        tuple(sorted({**about, "metric": "mean", "subject": "y"}.items())): 1.0,
        tuple(sorted({**about, "metric": "windows"}.items())): 7.0,
    }
    breached = [one.value for one in series.snapshot() if one.name == "vigil.finding.breached"]
    assert sorted(breached) == [0, 0, 1]


@pytest.mark.parametrize("threshold", [None, 0.1])
def test_an_unknown_verdict_has_no_series_and_the_value_has_one(series, shown, threshold):
    known = finding("toy", "mean", "x", 2.0)
    shown.show("toy", [known])
    assert "vigil.finding.breached" in gauges(series)
    shown.show("toy", [replace(known, breached=None, threshold=threshold, reason="why")])
    assert gauges(series) == {"vigil.finding.value": 2.0, "vigil.finding.rows": 100.0}
    shown.hide("toy")
    assert gauges(series) == {}


def test_a_segment_does_not_stand_for_all_rows(series, shown):
    whole = finding("drift", "psi", "x", 0.2, p_value=0.5)
    shown.show("drift", [whole])
    before = gauges(series)
    shown.show("drift", [whole, replace(whole, value=0.9, segment="age > 60")])
    assert gauges(series) == before
