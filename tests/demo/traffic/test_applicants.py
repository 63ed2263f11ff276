"""A planted change changes what it says, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ks_2samp

from serving.demo.traffic.applicants import LONG_TERM, TERM, applicants

N = 4000


def drawn(planted, hour=12.0, seed=1):
    return applicants(N, hour, planted, np.random.default_rng(seed))


def share(rows, which):
    return float(np.mean(rows.y_true[which] == "approved"))


@pytest.fixture(scope="module")
def clean():
    return drawn(None)


def test_a_drift_is_of_the_term_alone(clean):
    rows = drawn("drift")
    assert np.mean(clean.numeric[:, TERM] == LONG_TERM) == pytest.approx(0.2, abs=0.03)
    assert np.mean(rows.numeric[:, TERM] == LONG_TERM) > 0.85
    for column in {0, 1, 3, 4}:
        assert ks_2samp(rows.numeric[:, column], clean.numeric[:, column]).pvalue > 1e-3


def test_a_gap_is_between_the_sexes_and_in_no_input(clean):
    rows = drawn("fairness gap")
    gaps = [share(each, each.sex == "M") - share(each, each.sex == "F") for each in (clean, rows)]
    assert abs(gaps[0]) < 0.05
    assert gaps[1] > 0.2
    assert np.mean(rows.sex == "F") == pytest.approx(0.5, abs=0.04)
    for column in range(5):
        assert ks_2samp(rows.numeric[:, column], clean.numeric[:, column]).pvalue > 1e-3


def test_a_concept_change_is_in_the_truth_of_who_rents():
    rows, before = drawn("concept change", seed=3), drawn(None, seed=3)
    assert (rows.numeric == before.numeric).all()
    rents = rows.categorical[:, 1] == b"rent"
    assert share(rows, rents) == 0
    assert (rows.y_true[~rents] == before.y_true[~rents]).all()


def test_more_cars_are_wanted_by_day():
    of_hour = [np.mean(drawn(None, hour).categorical[:, 0] == b"car") for hour in (4, 16)]
    assert of_hour[1] - of_hour[0] > 0.08


def test_the_same_chance_gives_the_same_applicants():
    assert (drawn("drift").numeric == drawn("drift").numeric).all()
