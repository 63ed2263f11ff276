"""Tails heavier than Gauss's."""

import numpy as np
import pytest
from scipy import stats

from monitors.alarms.tails import EXCEEDED, Tails, p_value, student_score


def tails_of(z, prior=3.0):
    size = np.abs(z)
    beyond = size[size > EXCEEDED]
    one = (float(len(z)), (size**4).sum(), (size**2).sum(), float(len(beyond)))
    logs = np.log(beyond / EXCEEDED).sum()
    return Tails.of(*(np.array([x]) for x in (*one, logs)), prior=np.array([prior]))


@pytest.mark.parametrize("df", [3.0, 5.0, 12.0, 100.0])
@pytest.mark.parametrize("t", [1.0, 4.0, 9.0, 25.0])
def test_a_students_score_is_as_improbable_as_its_t(df, t):
    exact = stats.norm.isf(stats.t.sf(t, df))
    assert student_score(np.array([t]), np.array([df]))[0] == pytest.approx(exact, rel=0.03)


def test_light_tails_stay_gauss():
    tails = tails_of(np.random.default_rng(0).normal(0, 1, 5000))
    assert tails.index[0] == 0
    assert tails.scores(np.array([5.0]), slice(None))[0] == pytest.approx(5.0, rel=0.05)


def test_power_laws_are_not_underestimated():
    rng = np.random.default_rng(1)
    for _ in range(5):
        tails = tails_of(rng.standard_t(3, 4000))
        far = np.array([60.0])
        told = p_value(tails.scores(far, slice(None)))[0]
        assert told > 0.3 * 2 * stats.t.sf(60, 3)


def test_thresholds_are_the_inverse_of_scores():
    for draws in (
        np.random.default_rng(2).normal(0, 1, 900),
        stats.t.rvs(3, size=900, random_state=3),
    ):
        tails = tails_of(draws).paying(np.array([50.0]))
        threshold = tails.thresholds(np.array([4.5]))
        assert tails.scores(threshold, slice(None))[0] == pytest.approx(4.5, rel=0.02)
