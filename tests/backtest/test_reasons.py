"""What is told of rows whose cause is known, because it was made."""

from __future__ import annotations

import numpy as np
import pytest

from serving.backtest.labelled_losses import LabelledLosses
from serving.backtest.reasons import why_unalike, why_worse

N = 3000


@pytest.fixture
def random():
    return np.random.default_rng(5)


def rows(random, n=N, **more):
    columns = {"age": random.normal(50, 10, n), "debt": random.normal(0, 1, n)}
    given = {
        "times": np.arange(n, dtype=float),
        "columns": columns,
        "losses": (random.random(n) < 0.1).astype(float),
        "groups": {},
    }
    return LabelledLosses(**{**given, **more})


def test_other_truths_of_the_same_rows_are_a_concept_shift(random):
    before, after = rows(random), rows(random)
    old = after.columns["age"] > 60
    after.losses[old] = 1.0
    cause = why_worse(before, after, "error rate")
    assert (cause.known, cause.kind, cause.rows) == (True, "concept shift", (N, N))
    assert next(iter(cause.features)) == "age"
    assert cause.change == pytest.approx(after.losses.mean() - before.losses.mean())
    assert sum(cause.parts.values()) == pytest.approx(cause.change, abs=0.01)
    assert cause.where.startswith("age > ")
    assert "rows like those of before have other truths now" in cause.summary
    assert "carried by 'age'" in cause.summary
    assert f"worst where {cause.where}" in cause.summary


def test_no_change_has_no_cause(random):
    cause = why_worse(rows(random), rows(random), "error rate")
    assert not cause.known
    assert "explain no change" in cause.summary


def test_too_few_rows_are_counted_in_words(random):
    cause = why_worse(rows(random, 20), rows(random), "error rate")
    assert not cause.known
    assert "20 rows with labels before and 3000 since then, and 200 are needed" in cause.summary


def grouped(random, n=N):
    sex = np.where(random.random(n) < 0.5, "F", "M").astype(object)
    return rows(random, n, groups={"sex": sex}, losses=np.zeros(n)), sex == "F"


def test_other_inputs_of_a_group_are_told_from_another_treatment(random):
    some, women = grouped(random)
    some.columns["debt"][women] += 1.0
    some.losses[:] = some.columns["debt"] < 0.5
    cause = why_unalike(some, "sex", "the share of 'yes'", low=True)
    assert (cause.kind, cause.group) == ("covariate shift", "F")
    assert next(iter(cause.features)) == "debt"
    assert cause.change < -0.2
    assert "of sex = F" in cause.summary


def test_another_treatment_of_the_same_inputs_is_said(random):
    some, women = grouped(random)
    some.losses[:] = random.random(N) < np.where(women, 0.3, 0.7)
    cause = why_unalike(some, "sex", "the share of 'yes'", low=True)
    assert (cause.kind, cause.group) == ("concept shift", "F")
    assert "rows with the same inputs are treated otherwise" in cause.summary


def test_of_errors_the_group_with_more_of_them_is_worst_off(random):
    some, women = grouped(random)
    some.losses[:] = random.random(N) < np.where(women, 0.1, 0.4)
    assert why_unalike(some, "sex", "the error rate", low=False).group == "M"


def test_errors_of_numbers_are_compared_as_they_are(random):
    some, women = grouped(random)
    some.losses[:] = random.exponential(np.where(women, 3.0, 1.0))
    cause = why_unalike(some, "sex", "the mean absolute error", low=False)
    assert (cause.kind, cause.group) == ("concept shift", "F")
    young = some.columns["age"] < 45
    some.losses[:] = random.exponential(np.where(women & young, 5.0, 1.0))
    cause = why_unalike(some, "sex", "the mean absolute error", low=False)
    assert "age" in cause.where
    assert "largest of theirs where age" in cause.summary


def test_groups_alike_have_no_cause(random):
    some, _ = grouped(random)
    some.losses[:] = random.random(N) < 0.5
    assert not why_unalike(some, "sex", "the share of 'yes'", low=True).known


@pytest.mark.parametrize("groups", [{}, {"sex": np.full(N, None, object)}])
def test_rows_that_say_no_group_cannot_be_compared(random, groups):
    cause = why_unalike(rows(random, groups=groups), "sex", "the share of 'yes'", low=True)
    assert not cause.known
    assert "'sex'" in cause.summary
