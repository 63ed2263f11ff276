import json
import math

import numpy as np
import pytest

from monitors.alarms.law_windows import WindowSettings
from monitors.quality.checks import Expected
from monitors.quality.data_quality import DataQualityMonitor
from monitors.reference.categorical_column import CategoricalColumn
from monitors.reference.profile import ReferenceProfile
from monitors.rows import Rows

CHECKS = {
    "missing_columns", "extra_columns", "completeness", "data_type", "categorical_values", "range",
}  # fmt: skip


def columns(rng, rows):
    return {
        "x": rng.normal(size=rows),
        "y": np.where(rng.random(rows) < 0.1, np.nan, rng.normal(size=rows)),
        "k": rng.integers(0, 9, rows),
        "c": rng.choice(np.array([b"a", b"b"], object), rows),
    }


@pytest.fixture(scope="module")
def expected():
    reference = ReferenceProfile.fit(columns(np.random.default_rng(99), 4000))
    return {
        name: Expected(quality, column if isinstance(column, CategoricalColumn) else None)
        for (name, quality), column in zip(
            reference.quality.items(), reference.columns.values(), strict=True
        )
    }


@pytest.fixture
def monitor(expected):
    return DataQualityMonitor(expected, WindowSettings(window=500))


def judged(monitor, values, timestamp=0.0):
    rows = Rows(n=len(values["x"]), timestamp=timestamp, columns=values)
    return {each.metric: each for each in monitor.update(rows, 0.0)}


def calmed(monitor, rng):
    for at in range(12):
        found = judged(monitor, columns(rng, 500), 600.0 * at)
        assert found.keys() == CHECKS
        assert not any(each.breached for each in found.values())


def names(finding):
    return [each["column"] for each in finding.detail["columns"]]


def halves(values):
    values["k"] = values["k"] + 0.5


def some_missing(values):
    values["x"][::12] = np.nan


def all_missing(values):
    values["x"][:] = np.nan


def strangers(values):
    values["c"][::10] = b"stranger"


def far_out(values):
    values["x"][::10] = 1e6


@pytest.mark.parametrize(
    ("spoil", "check", "column", "severity"),
    [
        (halves, "data_type", "k", "page"),
        (some_missing, "completeness", "x", "ticket"),
        (all_missing, "completeness", "x", "page"),
        (strangers, "categorical_values", "c", "ticket"),
        (far_out, "range", "x", "ticket"),
    ],
)
def test_each_check_names_the_columns_that_fail_it(monitor, spoil, check, column, severity):
    rng = np.random.default_rng(0)
    calmed(monitor, rng)
    values = columns(rng, 500)
    spoil(values)
    found = judged(monitor, values, 7200.0)[check]
    assert (found.breached, found.severity, names(found)) == (True, severity, [column])
    assert found.p_value < 1e-3
    assert found.since is not None
    json.dumps(dict(found.detail), allow_nan=False)


def test_missing_and_extra_columns_need_no_test(monitor):
    values = columns(np.random.default_rng(1), 500)
    values["new"] = values.pop("k")
    found = judged(monitor, values)
    missing, extra = found["missing_columns"], found["extra_columns"]
    assert (missing.breached, missing.severity, names(missing)) == (True, "page", ["k"])
    assert (extra.breached, extra.severity, names(extra)) == (True, "ticket", ["new"])
    assert not found["completeness"].breached  # told once


def test_better_than_the_reference_is_no_breach(monitor):
    rng = np.random.default_rng(2)
    calmed(monitor, rng)
    values = columns(rng, 500)
    values["y"] = rng.normal(size=500)
    assert not judged(monitor, values, 7200.0)["completeness"].breached


@pytest.mark.parametrize("spoilt", [np.nan, math.inf, 1e308])
def test_odd_values_in_every_column_are_findings(monitor, spoilt):
    values = {name: np.full(500, spoilt) for name in ("x", "y", "k", "c")}
    found = judged(monitor, values)
    assert any(each.breached for each in found.values())
    json.dumps(monitor.state(), allow_nan=False)


def test_text_where_numbers_were_is_another_type(monitor):
    values = columns(np.random.default_rng(3), 500)
    values["x"] = np.full(500, b"text", object)
    found = judged(monitor, values)["data_type"]
    assert (found.breached, names(found)) == (True, ["x"])


def test_where_no_row_has_a_value_nobody_knows(expected):
    numbers = {name: each for name, each in expected.items() if name in ("x", "y")}
    monitor = DataQualityMonitor(numbers, WindowSettings(window=500))
    nothing = {"x": np.full(500, np.nan), "y": np.full(500, np.nan)}
    found = judged(monitor, nothing)
    assert found["completeness"].breached
    for check in ("data_type", "range"):
        assert found[check].breached is None
        assert "no row" in found[check].reason
    again = DataQualityMonitor(numbers, WindowSettings(window=500))
    saved = json.loads(json.dumps(monitor.state(), allow_nan=False))
    assert {each.metric: each.breached for each in again.restore(saved)}["range"] is None


def test_windows_end_with_their_time_too(expected):
    monitor = DataQualityMonitor(expected, WindowSettings(window_s=600))
    rng = np.random.default_rng(4)
    assert judged(monitor, columns(rng, 60), 0.0) == {}
    found = judged(monitor, columns(rng, 60), 700.0)
    assert {each.n_current for each in found.values()} == {60}


def test_a_state_belongs_to_one_reference_and_window(monitor, expected):
    judged(monitor, columns(np.random.default_rng(5), 700))
    state = json.loads(json.dumps(monitor.state(), allow_nan=False))
    with pytest.raises(ValueError, match="another reference, columns or window"):
        DataQualityMonitor(expected, WindowSettings(window=100)).restore(state)
    other = DataQualityMonitor(expected, WindowSettings(window=500, rate=50))
    assert other.restore(state) == []
    assert other.filled == (200, 500)


def test_nothing_to_check_is_refused():
    with pytest.raises(ValueError, match="at least one column"):
        DataQualityMonitor({}, WindowSettings())
