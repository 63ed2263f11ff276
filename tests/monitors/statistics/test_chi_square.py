import math

import numpy as np
import pytest
from scipy import stats

from monitors.reference.profile import ReferenceProfile
from monitors.statistics.chi_square import chi_square


def test_equals_scipy_where_every_cell_is_filled():
    reference, current = np.array([300, 500, 200]), np.array([40, 40, 20])
    expected = stats.chi2_contingency(np.stack([reference, current]), correction=False)
    found = chi_square(reference, current)
    assert found == pytest.approx((expected.statistic, expected.pvalue))


def test_small_categories_count_as_one():
    reference, current = np.array([500, 440, 20, 20, 20]), np.array([45, 40, 5, 5, 5])
    merged = chi_square(np.array([500, 440, 60]), np.array([45, 40, 15]))
    assert chi_square(reference, current) == pytest.approx(merged)


def test_a_sparse_rest_is_tested_exactly():
    reference, current = np.array([600, 400, 3]), np.array([60, 40, 2])
    exact = stats.fisher_exact([[1000, 3], [100, 2]]).pvalue
    assert chi_square(reference, current) == pytest.approx((0, 2 * exact), abs=1e-9)


@pytest.mark.parametrize(("n", "m", "new"), [(1000, 100, 30), (5000, 200, 20), (5000, 200, 200)])
def test_a_category_that_is_new_in_the_window_is_seen(n, m, new):
    assert chi_square(np.array([n, 0]), np.array([m - new, new]))[1] < 1e-10
    assert chi_square(np.array([n // 2, n - n // 2, 0]), np.array([m - new, 0, new]))[1] < 1e-10


def test_too_little_to_compare():
    statistic, p_value = chi_square(np.array([4, 5]), np.array([0, 0]))
    assert math.isnan(statistic)
    assert p_value == 1
    assert chi_square(np.array([100, 0]), np.array([50, 0])) == (0, 1)
    assert chi_square(np.array([3, 2]), np.array([1, 1])) == (0, 1)


@pytest.mark.parametrize(("n", "m"), [(1000, 500), (300, 200)])
def test_null_p_values_are_valid_with_a_heavy_tail(n, m):
    rng = np.random.default_rng(3)
    windows = 1000
    p_values = []
    for _ in range(windows):
        # Numbers as objects: the text of each is its category.
        column = ReferenceProfile.fit({"c": rng.zipf(1.5, n).astype(object)}).columns["c"]
        current = np.bincount(column.codes(rng.zipf(1.5, m).astype(object)), minlength=column.bins)
        p_values.append(chi_square(column.counts, current)[1])
    for level in (0.05, 0.01):
        realised = np.mean(np.array(p_values) <= level)
        assert realised <= level + 2 * math.sqrt(level * (1 - level) / windows)
