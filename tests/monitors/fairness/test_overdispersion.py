import json

import numpy as np
import pytest

from monitors.fairness.overdispersion import Overdispersion, rates_apart


def factor(windows, make):
    found = Overdispersion(1)
    rows = np.array([400.0, 600.0])
    past = np.zeros(2), np.zeros(2)
    rng = np.random.default_rng(3)
    for number in range(windows):
        hits = make(rng, number, rows)
        if number:
            found.window(0, rates_apart(hits, rows, *past))
        past = past[0] + hits, past[1] + rows
    return found


def test_independent_rows_have_a_factor_of_one():
    found = factor(400, lambda rng, _, rows: rng.binomial(rows.astype(int), [0.3, 0.5]))
    assert found.factor(0) < 1.25


def test_rows_that_come_five_times_have_five():
    found = factor(400, lambda rng, _, rows: 5 * rng.binomial((rows / 5).astype(int), [0.3, 0.5]))
    assert found.factor(0) == pytest.approx(5, rel=0.25)


def test_what_groups_share_is_no_difference():
    def cycle(rng, number, rows):
        shift = 0.15 * np.sin(number / 144 * 2 * np.pi)
        return rng.binomial(rows.astype(int), [0.4 + shift, 0.4 + shift])

    assert factor(400, cycle).factor(0) < 2


def test_nothing_known_is_a_factor_of_one():
    assert Overdispersion(2).factor(1) == 1.0


def test_groups_with_few_hits_say_nothing():
    found = Overdispersion(1)
    past = np.array([1.0, 2]), np.array([500.0, 500])
    found.window(0, rates_apart(np.array([9.0, 0]), np.array([10.0, 10]), *past))
    assert found.factor(0) == 1.0


def test_state_brings_it_back():
    found = factor(50, lambda rng, _, rows: rng.binomial(rows.astype(int), 0.3) * 1.5)
    again = Overdispersion(1)
    again.restore(json.loads(json.dumps(found.state())))
    assert again.factor(0) == found.factor(0) > 1
