import json

import numpy as np
import pytest

from monitors.statistics.dispersion import Dispersion


def test_squares_of_independent_windows_are_a_factor_of_one():
    found = Dispersion(1)
    for square in np.random.default_rng(0).normal(size=400) ** 2:
        found.add(0, square, 1)
    assert found.factor(0) == pytest.approx(1, abs=0.25)


def test_windows_that_vary_more_are_learnt_and_forgotten():
    found = Dispersion(2)
    for square in 5 * np.random.default_rng(1).normal(size=400) ** 2:
        found.add(1, square, 1)
    assert found.factor(1) > 3
    assert found.factor(0) == 1
    for _ in range(2000):
        found.add(1, 1.0, 1)
    assert found.factor(1) == pytest.approx(1, abs=0.1)


def test_one_window_cannot_say_much_and_one_without_freedom_says_nothing():
    found = Dispersion(1)
    found.add(0, 1e9, 1)
    assert 1 < found.factor(0) < 1.2
    before = Dispersion(1)
    before.add(0, 1e9, 0)
    assert before.factor(0) == 1


def test_what_is_expected_counts_until_there_are_windows():
    found = Dispersion(1)
    assert found.factor(0, expected=3.0) == 3
    for _ in range(1000):
        found.add(0, 1.0, 1, expected=3.0)
    assert found.factor(0, expected=3.0) < 1.3


def test_state_brings_it_back():
    found, again = Dispersion(1), Dispersion(1)
    found.add(0, 9.0, 3)
    again.restore(json.loads(json.dumps(found.state())))
    assert again.factor(0) == found.factor(0) > 1
    with pytest.raises(ValueError, match="of other things"):
        Dispersion(2).restore(found.state())
