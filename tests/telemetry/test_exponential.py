"""Exponential buckets hold what Prometheus says they hold."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serving.telemetry.exponential import ZERO_THRESHOLD, ExponentialCounts, joined

VALUES = st.floats(min_value=-1.0, max_value=1e6, allow_nan=False)


def counted(values: list[float]) -> ExponentialCounts:
    counts = ExponentialCounts()
    for value in values:
        counts.add(value)
    return counts


@given(st.floats(min_value=2e-9, max_value=1e6))
def test_a_value_is_within_the_bounds_of_its_bucket(value: float) -> None:
    ((bucket, count),) = counted([value]).buckets()
    assert count == 1
    # The bounds are powers of an irrational number, so their last digit may be either.
    assert 2 ** ((bucket - 1) / 8) < value * (1 + 1e-15)
    assert value * (1 - 1e-15) <= 2 ** (bucket / 8)


def test_a_value_on_a_bound_belongs_to_the_bucket_below() -> None:
    assert counted([0.25, 0.5, 1.0, 2.0]).buckets() == ((-16, 1), (-8, 1), (0, 1), (8, 1))
    assert counted([np.nextafter(1.0, 2.0)]).buckets() == ((1, 1),)


def test_what_is_no_longer_than_nothing_is_zero() -> None:
    counts = counted([0.0, -1.0, ZERO_THRESHOLD, 2 * ZERO_THRESHOLD])
    assert counts.zeros == 3
    assert sum(count for _, count in counts.buckets()) == 1


@given(st.lists(VALUES, max_size=50), st.lists(VALUES, max_size=50))
def test_many_at_once_are_counted_as_each_by_itself(
    first: list[float], second: list[float]
) -> None:
    one = counted(first + second)
    many = counted(first)
    many.add_many(np.array(second))
    assert (many.buckets(), many.zeros) == (one.buckets(), one.zeros)
    assert joined(counted(first).buckets(), counted(second).buckets()) == one.buckets()
