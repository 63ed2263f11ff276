import numpy as np
import pytest
from scipy import stats

from monitors.statistics.clopper_pearson import clopper_pearson


@pytest.mark.parametrize("rows", [1, 7, 200])
def test_equals_scipy(rows):
    hits = np.arange(rows + 1)
    low, high = clopper_pearson(hits, np.full(rows + 1, rows), np.full(rows + 1, 0.025))
    for at in hits:
        expected = stats.binomtest(int(at), rows).proportion_ci(0.95, "exact")
        assert (low[at], high[at]) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_nothing_is_known_without_rows_and_levels_may_be_tiny():
    low, high = clopper_pearson(
        np.array([0.0, 100.0]), np.array([0.0, 200.0]), np.array([0.1, 1e-12])
    )
    assert (low[0], high[0]) == (0, 1)
    assert stats.binom.cdf(100, 200, high[1]) == pytest.approx(1e-12, rel=1e-3)
    assert stats.binom.sf(99, 200, low[1]) == pytest.approx(1e-12, rel=1e-3)
