"""Wilson's and Newcombe's intervals, against scipy and published examples."""

import pytest
from scipy import stats

from monitors.statistics.newcombe import newcombe
from monitors.statistics.wilson import wilson


@pytest.mark.parametrize(("k", "n"), [(0, 10), (10, 10), (3, 17), (500, 1000), (1, 10**6)])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_wilson_equals_scipy(k, n, confidence):
    expected = stats.binomtest(k, n).proportion_ci(confidence, method="wilson")
    assert wilson(k, n, confidence) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_wilson_without_trials_and_at_extreme_confidence():
    assert wilson(0, 0) == (0, 1)
    lower, upper = wilson(5, 10, 1 - 1e-12)
    assert 0 < lower < 0.5 < upper < 1


# Newcombe (1998), table II, method 10.
@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((56, 70, 48, 80), (0.0524, 0.3339)),
        ((9, 10, 3, 10), (0.1705, 0.8090)),
        ((6, 7, 2, 7), (0.0582, 0.8062)),
        ((5, 56, 0, 29), (-0.0381, 0.1926)),
        ((0, 10, 0, 20), (-0.1611, 0.2775)),
        ((10, 10, 0, 20), (0.6791, 1.0)),
        ((10, 10, 0, 10), (0.6075, 1.0)),
    ],
)
def test_newcombe_reproduces_its_published_table(counts, expected):
    assert newcombe(*counts) == pytest.approx(expected, abs=5e-5)


def test_newcombe_is_antisymmetric():
    lower, upper = newcombe(7, 20, 9, 31)
    assert newcombe(9, 31, 7, 20) == pytest.approx((-upper, -lower))


@pytest.mark.parametrize(("k", "n", "confidence"), [(-1, 3, 0.9), (4, 3, 0.9), (1, 3, 1.0)])
def test_refuse_what_is_no_proportion(k, n, confidence):
    with pytest.raises(ValueError, match=r"need|confidence"):
        wilson(k, n, confidence)
    with pytest.raises(ValueError, match="trials"):
        newcombe(0, 0, 1, 2)
