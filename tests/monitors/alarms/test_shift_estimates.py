"""Generalised least squares on forecast errors."""

import numpy as np
import pytest

from monitors.alarms.shift_estimates import LONGEST, ShiftEstimates


def test_without_dependence_it_is_the_mean_of_the_latest_windows():
    shifts = ShiftEstimates((1, 6), 1)
    errors = np.random.default_rng(0).normal(0, 1, 2 * LONGEST + 7)
    for error in errors:
        shifts.push(np.array([error]), np.ones(1))
    for windows in (2, 6, LONGEST):
        estimate, information = shifts.estimate(windows)
        assert estimate[0] == pytest.approx(errors[-windows:].mean())
        assert information[0] == windows


def test_it_finds_the_size_of_a_shift_of_an_autoregression():
    phi, rng, windows = 0.8, np.random.default_rng(1), 12
    shifts = ShiftEstimates((1,), 400)
    shifts.set(np.full((1, 400), phi))
    level = np.zeros(400)
    before = np.zeros(400)
    for at in range(200 + windows):
        level = phi * level + rng.normal(0, 0.1, 400)
        now = level + (1.0 if at >= 200 else 0.0)
        shifts.push(now - phi * before, np.ones(400))
        before = now
    estimate, information = shifts.estimate(windows)
    assert estimate.mean() == pytest.approx(1.0, abs=0.02)
    assert information[0] == pytest.approx(1 + 11 * 0.2**2)
    # As the theory has it: the variance of an error over the information.
    assert estimate.var() == pytest.approx(0.01 / information[0], rel=0.2)


def test_windows_that_jump_by_nature_count_less():
    shifts = ShiftEstimates((1,), 1)
    for error, weight in ((0.0, 1.0), (10.0, 0.01)):
        shifts.push(np.array([error]), np.array([weight]))
    assert shifts.estimate(2)[0][0] == pytest.approx(0.1 / 1.01)
