"""Wilson's interval, against scipy."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from monitors.statistics.wilson import wilson


@pytest.mark.parametrize(("k", "n"), [(0, 10), (10, 10), (3, 17), (500, 1000), (1, 10**6)])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_it_equals_scipys(k, n, confidence):
    expected = stats.binomtest(k, n).proportion_ci(confidence, method="wilson")
    assert wilson(k, n, confidence) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_the_confidence_is_95_percent_unless_told():
    assert wilson(3, 17) == wilson(3, 17, 0.95)


@pytest.mark.parametrize("confidence", [1e-300, 0.5, 0.95, 1 - 2**-53])
def test_without_trials_nothing_is_known(confidence):
    assert wilson(0, 0, confidence) == (0, 1)


@pytest.mark.parametrize("n", [1, 7, 10**6])
def test_the_ends_are_exact(n):
    assert wilson(0, n)[0] == 0
    assert wilson(n, n)[1] == 1
    assert 0 < wilson(0, n)[1] < 1
    assert 0 < wilson(n, n)[0] < 1


@given(
    st.integers(1, 10**9).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
    st.floats(1e-12, 1, exclude_max=True),
)
def test_it_holds_the_share_and_is_that_of_the_failures_mirrored(counts, confidence):
    k, n = counts
    lower, upper = wilson(k, n, confidence)
    assert 0 <= lower <= k / n <= upper <= 1
    mirrored = wilson(n - k, n, confidence)
    assert (1 - upper, 1 - lower) == pytest.approx(mirrored, abs=1e-12)


def test_more_confidence_and_fewer_trials_make_it_wider():
    widths = [
        upper - lower
        for lower, upper in (wilson(50, 100, 0.9), wilson(50, 100), wilson(5, 10), wilson(1, 2))
    ]
    assert widths == sorted(widths)


def test_extreme_confidence_keeps_its_precision():
    lower, upper = wilson(5, 10, 1 - 1e-12)
    assert 0 < lower < 0.5 < upper < 1
    wider = wilson(5, 10, 1 - 2**-53)  # the next number is one
    assert 0 < wider[0] < lower < upper < wider[1] < 1


@pytest.mark.parametrize(
    ("k", "n"), [(-1, 3), (4, 3), (1, 0), (0, -1), (-1, -1), (math.nan, 3), (0, math.nan)]
)
def test_what_is_no_proportion_is_refused(k, n):
    with pytest.raises(ValueError, match=f"^need 0 <= k <= n; got k={k}, n={n}$"):
        wilson(k, n)


@pytest.mark.parametrize("confidence", [0, 1, -0.1, 95, math.nan, math.inf])
@pytest.mark.parametrize(("k", "n"), [(1, 3), (0, 0)])
def test_a_confidence_that_is_none_is_refused(k, n, confidence):
    with pytest.raises(ValueError, match=r"^confidence must be between 0 and 1$"):
        wilson(k, n, confidence)
