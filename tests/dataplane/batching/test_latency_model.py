"""The learned latency model: what it says of curves that are known, and how it forgets."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.dataplane.batching.latency_model import FORGET_S, LEAST_SAMPLES, SAMPLES, LatencyModel

SIZES = (1, 2, 5, 8, 20, 32, 64, 128)
COSTS = st.tuples(st.floats(0, 0.1), st.floats(1e-6, 0.01))
BATCHES = st.lists(
    st.tuples(st.integers(1, 4096), st.floats(1e-6, 10), st.floats(0, 3)), max_size=60
)


def learned(fixed: float, per_row: float, now: float = 0.0) -> LatencyModel:
    model = LatencyModel()
    for _ in range(SAMPLES):
        for rows in SIZES:
            model.observe(rows, fixed + per_row * rows, now)
    return model


def test_nothing_is_known_of_what_was_never_seen() -> None:
    model = LatencyModel()
    assert (model.low(5, 0.0), model.high(5, 0.0)) == (0.0, 0.0)
    assert model.most_rows(1e-9, 64, 0.0) == 64
    for _ in range(LEAST_SAMPLES - 1):
        model.observe(5, 1.0, 0.0)
    assert model.high(5, 0.0) == 0.0
    model.observe(5, 1.0, 0.0)
    assert model.high(5, 0.0) == model.low(5, 0.0) == 1.0


@given(COSTS, st.integers(1, 128))
def test_a_straight_line_is_learned_as_it_is(cost: tuple[float, float], rows: int) -> None:
    fixed, per_row = cost
    model = learned(fixed, per_row)
    true = fixed + per_row * rows
    assert model.low(rows, 0.0) == pytest.approx(true, rel=1e-6)
    assert model.high(rows, 0.0) == pytest.approx(true, rel=1e-6)


@given(COSTS, st.integers(129, 5000))
def test_beyond_what_was_seen_one_curve_fears_and_one_hopes(
    cost: tuple[float, float], rows: int
) -> None:
    fixed, per_row = cost
    model = learned(fixed, per_row)
    true = fixed + per_row * rows
    assert model.low(rows, 0.0) <= true * (1 + 1e-9)
    assert model.high(rows, 0.0) >= true * (1 - 1e-9)


@given(BATCHES, st.floats(1e-6, 10), st.integers(1, 2000))
def test_whatever_it_is_told_the_curves_are_in_order(
    batches: list[tuple[int, float, float]], budget: float, at_most: int
) -> None:
    model, now = LatencyModel(), 0.0
    for rows, seconds, later in batches:
        now += later
        model.observe(rows, seconds, now)
    sizes = sorted({*range(1, 70), *range(70, 5000, 97), at_most})
    low = [model.low(rows, now) for rows in sizes]
    high = [model.high(rows, now) for rows in sizes]
    for curve in (low, high):
        assert all(a <= b * (1 + 1e-9) for a, b in pairwise(curve))
    assert all(a <= b * (1 + 1e-9) for a, b in zip(low, high, strict=True))
    most = model.most_rows(budget, at_most, now)
    assert 1 <= most <= at_most
    # Twice what fits may be tried, so that larger sizes are learned at all.
    assert most == 1 or model.high(most, now) <= budget or model.high(most // 2, now) <= budget
    assert most == at_most or model.high(most + 1, now) > budget


def test_sizes_are_tried_until_one_is_too_large() -> None:
    model, most, tried = LatencyModel(), 1, []
    for _ in range(10):
        tried.append(most)
        for _ in range(SAMPLES):
            model.observe(most, 0.040 + 0.0005 * most, 0.0)
        most = model.most_rows(0.050, 1024, 0.0)
    assert tried[:5] == [1, 2, 4, 8, 16]
    assert 16 < most <= 20


def test_one_slow_batch_changes_nothing() -> None:
    model = learned(0.01, 0.001)
    before = model.high(32, 0.0)
    model.observe(32, 60.0, 0.0)
    for _ in range(8):
        model.observe(1, 0.011, 0.0)
    assert model.high(32, 0.0) == pytest.approx(before, rel=0.3)


def test_a_model_that_becomes_slower_or_quicker_is_followed() -> None:
    model = learned(0.01, 0.001)
    for factor in (10, 0.1):
        for _ in range(SAMPLES):
            model.observe(32, 0.042 * factor, 0.0)
            model.observe(1, 0.011 * factor, 0.0)
        assert model.low(1, 0.0) == pytest.approx(0.011 * factor, rel=1e-6)


def test_what_is_not_tried_any_more_is_forgotten() -> None:
    model = LatencyModel()
    for _ in range(SAMPLES):
        model.observe(4, 0.01, 0.0)
        model.observe(64, 100.0, 0.0)
    assert model.most_rows(0.2, 64, 0.0) < 10
    later = FORGET_S + 1
    for _ in range(SAMPLES):
        model.observe(4, 0.01, later)
    assert model.most_rows(0.2, 64, later) == 64
    assert model.low(64, 3 * later) == 0.0


def test_noise_lies_between_the_curves() -> None:
    random = np.random.default_rng(0)
    model = LatencyModel()
    for _ in range(200):
        for rows in SIZES:
            model.observe(rows, float((0.01 + 0.001 * rows) * random.lognormal(0, 0.2)), 0.0)
    for rows in SIZES:
        assert model.low(rows, 0.0) < 0.01 + 0.001 * rows < model.high(rows, 0.0)
