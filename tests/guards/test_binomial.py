import pytest
from scipy import stats

from guards.binomial import binomial_bounds


@pytest.mark.parametrize(("k", "n"), [(0, 10), (10, 10), (5, 100), (50, 1000)])
@pytest.mark.parametrize("confidence", [0.9, 0.99])
def test_equals_scipy(k, n, confidence):
    expected = stats.binomtest(k, n).proportion_ci(confidence, method="exact")
    assert binomial_bounds(k, n, confidence) == pytest.approx((expected.low, expected.high))


def test_no_trials_say_nothing():
    assert binomial_bounds(0, 0) == (0, 1)


@pytest.mark.parametrize(("k", "n", "confidence"), [(3, 2, 0.9), (-1, 2, 0.9), (1, 2, 0)])
def test_refuses_what_is_no_proportion(k, n, confidence):
    with pytest.raises(ValueError, match=r"need|confidence"):
        binomial_bounds(k, n, confidence)
