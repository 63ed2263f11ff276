"""Rows with planted changes."""

import numpy as np
import pytest

from loadtest.experiments.planted_rows import (
    CHANGES,
    GONE,
    LABELS,
    ROWS,
    SHARES,
    History,
    delays,
    rows,
)

BY_NAME = {change.name: change for change in CHANGES}


def changed(name, trial=2, n=20_000):
    rng = np.random.default_rng(5)
    columns = rows(rng, n)
    before = dict(columns)
    BY_NAME[name].apply(rng, columns, trial)
    (at,) = [key for key in columns if columns[key] is not before[key]]
    return before, columns, at


def test_there_is_no_change_before_one_is_made():
    columns = rows(np.random.default_rng(1), 20_000)
    assert len(columns) == 30
    found = [np.mean(columns["c0"] == label) for label in LABELS]
    np.testing.assert_allclose(found, SHARES, atol=0.015)
    assert abs(np.corrcoef(columns["x0"], columns["x1"])[0, 1]) < 0.03


def test_each_change_is_in_one_column_and_of_its_size():
    before, after, at = changed("shift of .5 sd")
    np.testing.assert_allclose(after[at] - before[at], 0.5)
    _, after, at = changed("missing 0 to 5 %")
    assert np.isnan(after[at]).mean() == pytest.approx(0.05, abs=0.01)
    before, after, at = changed("a class of 10 % gone")
    assert LABELS[GONE] in before[at]
    assert LABELS[GONE] not in after[at]
    before, after, at = changed("tail x 1000 in 5 % of rows")
    assert (after[at] != before[at]).mean() == pytest.approx(0.05, abs=0.01)
    _, after, at = changed("correlation 0 to .9")
    assert at == "x3"
    assert np.corrcoef(after["x2"], after["x3"])[0, 1] == pytest.approx(0.9, abs=0.01)
    assert after["x3"].std() == pytest.approx(1, abs=0.03)


def test_rows_are_counted_until_it_is_told_and_what_was_told_before():
    found = {each["change"]: each for each in delays(History("none", 0), 1, 7)}
    assert found["missing 0 to 5 %"]["rows"] == [float(ROWS)]
    assert found["shift of .2 sd"]["rows"] == [None]
    assert found["shift of .2 sd"]["false_before"] == 0
