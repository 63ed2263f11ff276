"""How many tokens there are, and when."""

from __future__ import annotations

import math

import pytest

from serving.telemetry.token_bucket import TokenBucket


def test_it_is_full_at_first_and_gets_one_in_an_interval() -> None:
    bucket = TokenBucket(10.0, 2, now=100.0)
    assert [bucket.take(100.0) for _ in range(3)] == [True, True, False]
    assert [bucket.take(now) for now in (109.9, 110.0, 110.0)] == [False, True, False]


def test_it_never_holds_more_than_it_may() -> None:
    bucket = TokenBucket(0.5, 3, now=0.0)
    assert sum(bucket.take(1e9) for _ in range(9)) == 3


def test_who_leaves_some_behind_leaves_them_to_others() -> None:
    bucket = TokenBucket(1.0, 4, now=0.0)
    assert [bucket.take(0.0, spare=2) for _ in range(3)] == [True, True, False]
    assert [bucket.take(0.0) for _ in range(3)] == [True, True, False]
    assert [bucket.take(2.5, spare=2), bucket.take(3.0, spare=2)] == [False, True]


@pytest.mark.parametrize("interval_s", [5e-324, math.inf])
def test_the_shortest_and_the_longest_interval(interval_s: float) -> None:
    bucket = TokenBucket(interval_s, 1, now=0.0)
    assert [bucket.take(0.0), bucket.take(0.0)] == [True, False]
    assert bucket.take(1.0) is (interval_s < 1)


@pytest.mark.parametrize(
    ("interval_s", "most"), [(0.0, 1), (-1.0, 1), (math.nan, 1), (1.0, 0.5), (1.0, math.nan)]
)
def test_what_is_no_bucket_is_refused(interval_s: float, most: float) -> None:
    with pytest.raises(ValueError, match="no token bucket has"):
        TokenBucket(interval_s, most, now=0.0)
