"""Standardised differences, against exact tails."""

import numpy as np
from scipy import stats

from monitors.alarms.standardized import standardized


def test_a_mean_is_off_by_its_difference_over_its_standard_deviation():
    z = standardized(np.array([3.0]), np.array([1.0]), np.array([0.5]), np.array([False]))
    assert z[0] == 4


def test_rare_events_do_not_alarm_more_often_than_stated():
    level = 1e-4
    for p in (0.0002, 0.001, 0.01, 0.3, 0.99):
        n = 1000
        k = np.arange(n + 1)
        sd = np.full(n + 1, np.sqrt(p * (1 - p) / n))
        z = standardized(k / n, np.full(n + 1, p), sd, np.ones(n + 1, bool))
        told = stats.norm.sf(np.abs(z)) * 2 < level
        assert stats.binom.pmf(k, n, p)[told].sum() < 2 * level, p


def test_the_plain_difference_would():
    n, p = 1000, 0.0002
    assert stats.binom.sf(2, n, p) > 1e-3
    assert (3 / n - p) / np.sqrt(p * (1 - p) / n) > 6


def test_a_share_that_was_zero_and_is_five_percent_is_far_off():
    n = 1000
    sd = np.array([np.sqrt(1e-5 / n)])
    z = standardized(np.array([0.05]), np.array([1e-5]), sd, np.array([True]))
    assert z[0] > 10
