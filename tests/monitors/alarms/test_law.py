"""The law of alarms."""

import json

import numpy as np
import pytest

from monitors.alarms.cell import Cell
from monitors.alarms.law import StreamLaw
from monitors.alarms.reference import ReferenceMoments


def reference_of(k, n=50_000):
    return ReferenceMoments(mean=np.zeros(k), variance=np.ones(k), n=np.full(k, float(n)))


def cell_of(means, at, n=1000):
    means = np.asarray(means, float)
    return Cell(
        first=at,
        last=at + 599,
        n=n,
        counts=np.full(len(means), float(n)),
        sums=means * n,
        squares=(means**2 + 1) * n,
    )


def test_independent_rows_keep_within_the_budget():
    k, rng = 50, np.random.default_rng(0)
    law = StreamLaw(k, reference_of(k), rate=500.0)
    told = np.zeros(k, bool)
    alarms = 0
    for window in range(1296):  # a tenth of a quarter
        said = law.observe(cell_of(rng.normal(0, 1 / np.sqrt(1000), k), 600.0 * window), 0)
        alarms += int((said.alarm & ~told).sum())
        told = said.alarm
    assert alarms <= 50 + 4 * np.sqrt(50)


def test_a_shift_is_told_with_its_size_and_its_beginning():
    k, rng = 5, np.random.default_rng(1)
    law = StreamLaw(k, reference_of(k), rate=1.0)
    for window in range(6):
        law.observe(cell_of(rng.normal(0, 1 / np.sqrt(1000), k), 600.0 * window), 0)
    means = rng.normal(0, 1 / np.sqrt(1000), k)
    means[3] = 2.01
    said = law.observe(cell_of(means, 3600.0), 0)
    assert said.alarm.tolist() == [False, False, False, True, False]
    assert said.since[3] == 3600
    assert np.isnan(said.since[0])
    assert said.low[3] < 2 < said.high[3]
    assert said.p[3] < said.level < said.p[0]


def test_a_cell_without_rows_is_no_alarm():
    law = StreamLaw(2, reference_of(2), rate=1.0)
    zero = np.zeros(2)
    said = law.observe(Cell(first=0, last=0, n=0, counts=zero, sums=zero, squares=zero), 0)
    assert not said.alarm.any()
    assert np.isnan(said.value).all()


def test_it_goes_on_after_a_restart():
    law = StreamLaw(3, reference_of(3), rate=1.0)
    law.observe(cell_of([0.0, 3.0, 0.0], 0.0), 0)
    again = StreamLaw(3, reference_of(3), rate=1.0)
    again.restore(json.loads(json.dumps(law.state(), allow_nan=False)))
    one, other = (each.observe(cell_of([0.0, 3.0, 0.0], 600.0), 0) for each in (law, again))
    np.testing.assert_array_equal(one.since, other.since)
    np.testing.assert_array_equal(one.alarm, other.alarm)


def test_it_refuses_the_state_of_another_law():
    with pytest.raises(ValueError, match="another number of streams"):
        StreamLaw(3, reference_of(3), 1.0).restore(StreamLaw(2, reference_of(2), 1.0).state())


def test_it_refuses_a_wrong_setup():
    with pytest.raises(ValueError, match="2 statistics"):
        StreamLaw(3, reference_of(2), rate=1.0)
    with pytest.raises(ValueError, match="positive"):
        StreamLaw(2, reference_of(2), rate=0.0)
    with pytest.raises(ValueError, match="the cell has 3"):
        StreamLaw(2, reference_of(2), rate=1.0).observe(cell_of([0, 0, 0], 0.0), 0)
