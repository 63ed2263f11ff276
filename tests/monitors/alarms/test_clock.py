"""Times of windows."""

import json

import numpy as np
import pytest

from monitors.alarms.cell import Cell
from monitors.alarms.clock import Clock


def window(first, last):
    one = np.ones(1)
    return Cell(first=first, last=last, n=1, counts=one, sums=one, squares=one)


def test_it_says_how_many_days_end_before_a_window():
    clock = Clock(600.0)
    assert clock.follow(window(86400.0 * 5, 86400.0 * 5 + 600)) == 0
    assert clock.follow(window(86400.0 * 6, 86400.0 * 6 + 600)) == 1
    assert clock.follow(window(86400.0 * 6, 86400.0 * 6 + 900)) == 0
    assert clock.follow(window(86400.0 * 60, 86400.0 * 60 + 600)) == 3
    assert clock.day == 60


def test_a_window_out_of_order_ends_no_day():
    clock = Clock(600.0)
    clock.follow(window(86400.0 * 5, 86400.0 * 5 + 600))
    assert clock.follow(window(86400.0 * 3, 86400.0 * 3 + 600)) == 0
    assert clock.day == 5
    assert clock.last == 86400.0 * 5 + 600


def test_the_interval_follows_the_traffic():
    clock = Clock(600.0)
    for at in range(1000):
        clock.follow(window(60.0 * at, 60.0 * at + 59))
    assert clock.interval == pytest.approx(60, abs=1)


@pytest.mark.parametrize("windows", [0, 3])
def test_it_goes_on_from_its_state(windows):
    clock = Clock(600.0)
    for at in range(windows):
        clock.follow(window(1000.0 * at, 1000.0 * at + 9))
    again = Clock.read(json.loads(json.dumps(clock.state())))
    assert vars(again) == vars(clock)
