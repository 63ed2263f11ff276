"""Daily and weekly profiles."""

import numpy as np
import pytest

from monitors.alarms.season import Season

DAY = 86400.0


def days(season, value, count, start=0):
    rng = np.random.default_rng(0)
    for day in range(start, start + count):
        for window in range(144):
            at = day * DAY + window * 600 + 300
            noisy = value(at) + rng.normal(0, 0.03, season.within.shape)
            season.add(at, at, noisy, np.ones_like(season.within))
        season.turn()


def wave(at, period=DAY, amplitude=0.3):
    return amplitude * np.sin(2 * np.pi * at / period)


def test_a_cycle_is_learnt_from_two_days_and_noise_is_not():
    season = Season(2)
    days(season, lambda at: np.array([wave(at), 0.0]), 4)
    assert season.seasons()[0][0]
    for hour in (0, 6, 13, 21):
        expected = season.at(10 * DAY + hour * 3600)
        assert expected[0] == pytest.approx(wave(hour * 3600), abs=0.04)
        assert abs(expected[1]) < 0.02


def test_the_last_day_is_not_history_yet():
    season = Season(1)
    days(season, lambda at: np.array([wave(at)]), 2)
    assert season.days.periods[0] == 1
    days(season, lambda at: np.array([5.0]), 1, start=2)
    assert season.days.periods[0] == 2
    assert np.abs(season.day).max() < 1


def test_a_week_is_learnt_from_two():
    season = Season(1)
    days(season, lambda at: np.array([wave(at, 7 * DAY)]), 16)
    assert season.seasons()[1][0]
    for day in (21, 22.5, 25.25):
        assert season.at(day * DAY)[0] == pytest.approx(wave(day * DAY, 7 * DAY), abs=0.06)


def test_dropped_days_are_not_learnt():
    season = Season(1)
    days(season, lambda at: np.array([0.0]), 2)
    season.add(2 * DAY, 2 * DAY, np.array([9.0]), np.ones(1))
    season.drop(np.array([True]), yesterday=True)
    season.turn()
    season.turn()
    assert season.days.periods[0] == 1


def test_a_window_longer_than_the_bins_counts_in_all_that_it_reaches_over():
    season = Season(1)
    hour = 3600.0
    for day in range(3):
        for begin in range(0, 24, 2):
            first, last = day * DAY + begin * hour, day * DAY + (begin + 2) * hour - 1
            season.add(first, last, np.array([float(begin < 12)]), np.ones(1))
        season.turn()
    assert season.days.periods[0] == 2
    assert (season.days.sums[0, :, 0] == 2).all()
    assert season.at(6 * hour)[0] == pytest.approx(0.5, abs=0.01)
    assert season.at(18 * hour)[0] == pytest.approx(-0.5, abs=0.01)
    assert season.swing[0] == pytest.approx(0.5, abs=0.01)
