import json

import numpy as np
import pytest

from monitors.fairness.definitions import ABSOLUTE_ERROR, CAPPED, ERROR, ROWS
from monitors.fairness.error_scale import ErrorScale, amounts


def learnt(errors) -> ErrorScale:
    scale = ErrorScale()
    scale.learn(np.asarray(errors, dtype=float))
    scale.settle()
    return scale


def test_it_is_above_nearly_all_errors_and_one_wild_one_does_not_move_it():
    errors = np.random.default_rng(1).normal(size=1000)
    calm, wild = learnt(errors).value, learnt([*errors, 1e9, np.inf, np.nan]).value
    assert calm == pytest.approx(1.25 * np.quantile(np.abs(errors), 0.99))
    assert wild == pytest.approx(calm, rel=0.1)


def test_where_hardly_any_answer_is_wrong_the_largest_error_tells():
    assert learnt([*np.zeros(999), 3.0]).value == 3.0


@pytest.mark.parametrize("errors", [np.zeros(500), np.full(500, np.nan), np.ones(19)])
def test_what_tells_nothing_is_not_taken_for_a_scale(errors):
    scale = learnt(errors)
    assert scale.value is None
    scale.learn(np.full(500, 2.0))
    scale.settle()
    assert scale.value == 2.5


def test_errors_larger_than_it_count_as_large_as_it_and_missing_ones_do_not_count():
    found = amounts(np.array([1.0, -2.0, 8.0, -np.inf, np.nan]), 4.0)
    assert np.isnan(found[4]).all()
    sums = found[:4].sum(axis=0)
    assert (sums[ROWS], sums[CAPPED]) == (4, 2)
    assert ABSOLUTE_ERROR.of(sums).first / 4 == (0.25 + 0.5 + 1 + 1) / 4
    signed = ERROR.of(sums)
    assert signed.first == 0.25 - 0.5 + 1 - 1
    assert signed.third == 0.25**3 - 0.5**3
    assert (signed.second, signed.fourth) == (
        0.25**2 + 0.5**2 + 2, 0.25**4 + 0.5**4 + 2,
    )  # fmt: skip


def of_window(errors, scale: ErrorScale) -> np.ndarray:
    assert scale.value
    return amounts(errors, scale.value).sum(axis=0)


def test_it_fits_until_errors_are_often_larger_or_nearly_all_far_smaller():
    errors = np.random.default_rng(1).normal(size=1000)
    scale = learnt(errors)
    assert not scale.unfit(of_window(errors, scale))
    assert not scale.unfit(of_window(errors * 1.2, scale))
    assert scale.unfit(of_window(errors * 3, scale))
    assert scale.unfit(of_window(errors / 100, scale))
    assert not scale.unfit(of_window(errors[:5] * 100, scale))


def test_state_brings_it_back_while_it_is_learnt_and_after():
    scale = ErrorScale()
    scale.learn(np.arange(30.0))
    for _ in range(2):
        again = ErrorScale()
        again.restore(json.loads(json.dumps(scale.state())))
        scale.settle()
        again.settle()
        assert again.value == scale.value is not None
