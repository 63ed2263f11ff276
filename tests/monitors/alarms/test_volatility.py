"""Hours that jump."""

import numpy as np

from monitors.alarms.volatility import Volatility


def test_an_hour_that_jumps_every_day_has_a_larger_variance_and_no_other():
    rng, volatility = np.random.default_rng(0), Volatility(1, 1)
    for _ in range(14):
        for hour in range(24):
            for _ in range(6):
                z = rng.normal(0, 8 if hour == 0 else 1, 1)
                volatility.add(0, hour, z, np.ones(1, bool))
        volatility.turn()
    assert volatility.at(0, 0)[0] > 10
    assert np.median(volatility.times[0, 1:]) == 1


def test_one_day_says_nothing_and_coarse_scales_have_none():
    volatility = Volatility(1, 1)
    volatility.add(0, 5, np.array([50.0]), np.ones(1, bool))
    volatility.turn()
    assert volatility.at(0, 5) is None
    assert volatility.at(1, 5) is None
