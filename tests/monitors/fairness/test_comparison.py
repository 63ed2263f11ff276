import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import ttest_ind

from monitors.fairness.comparison import compare, compare_means
from monitors.statistics.newcombe import newcombe


def of(*cells, **options):
    hits, rows = (np.array([column], dtype=float) for column in zip(*cells, strict=True))
    alpha = np.array([options.pop("alpha", 0.025)])
    found = compare(hits, rows, alpha, 100, **options)
    return SimpleNamespace(**dict(zip(found._fields, found.at(0), strict=True)))


def test_the_interval_of_two_groups_is_newcombes():
    found = of((90, 150), (50, 150))
    # Each of the two orders of a pair has half of alpha.
    low, high = newcombe(90, 150, 50, 150, 1 - 0.025)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert (found.difference, found.ratio) == pytest.approx((40 / 150, 5 / 9))
    assert (found.rows, found.judged, found.compared) == (300, 2, 2)


def test_the_ratio_lies_in_its_interval_and_both_ends_move_with_alpha():
    found, wide = of((90, 150), (50, 150)), of((90, 150), (50, 150), alpha=1e-6)
    assert wide.ratio_low < found.ratio_low < found.ratio < found.ratio_high < wide.ratio_high < 1.2


def test_intervals_cover_as_stated():
    rng = np.random.default_rng(5)
    truth, n, misses = (0.3, 0.25), (150, 400), {"difference": 0, "ratio": 0}
    for _ in range(4000):
        hits = rng.binomial(n, truth)
        found = of(*zip(hits, n, strict=True), alpha=0.05)
        misses["difference"] += found.low > truth[0] - truth[1]
        misses["ratio"] += found.ratio_high < truth[1] / truth[0]
    for missed in misses.values():
        # One of the pair's two orders can go wrong on this side: half of alpha.
        assert missed / 4000 < 0.025 + 3 * math.sqrt(0.025 / 4000)


def test_small_groups_take_no_part():
    found = of((10, 19), (50, 150), (100, 200))
    assert (found.rows, found.compared, found.difference) == (350, 2, pytest.approx(0.5 - 1 / 3))
    alone = of((10, 19), (50, 150))
    assert (alone.rows, alone.compared, alone.judged) == (150, 1, 1)
    assert math.isnan(alone.difference)
    assert math.isnan(alone.low)


def test_a_group_with_too_few_rows_is_shown_and_bounds_nothing():
    found = of((60, 60), (50, 150))
    assert found.difference == pytest.approx(2 / 3)
    assert math.isnan(found.low)
    assert (found.judged, found.compared) == (1, 2)


def test_with_whom_groups_are_compared():
    cells = (100, 1000), (30, 100), (20, 100)
    assert of(*cells).difference == pytest.approx(0.2)
    assert of(*cells, reference="largest").difference == pytest.approx(0.2)
    assert of((30, 100), (20, 100), (250, 1000), reference="largest").difference == pytest.approx(
        0.05
    )
    assert of(*cells, reference="lowest").difference == pytest.approx(0.2)
    middle = of((10, 100), (30, 100), (90, 100), reference="highest")
    assert middle.difference == pytest.approx(0.8)


def test_rates_that_vary_more_have_wider_intervals():
    cells = (90, 150), (50, 150)
    one, four = of(*cells), of(*cells, factor=4.0)
    assert four.low < one.low
    assert four.high > one.high
    assert four.difference == one.difference


@pytest.mark.parametrize("cells", [((0, 100), (0, 100)), ((100, 100), (100, 100))])
def test_rates_of_none_and_all(cells):
    found = of(*cells)
    assert found.difference == 0
    assert found.low <= 0 <= found.high
    assert math.isnan(found.ratio) == (cells[0][0] == 0)
    assert found.ratio_low <= 1 <= found.ratio_high


def test_bounds_of_all_pairs_hold_together():
    cells = [(50, 200), (70, 200), (90, 200)]
    found = of(*cells)
    pairs = [newcombe(*b, *a, 1 - 2 * 0.025 / 6) for a, b in itertools.combinations(cells, 2)]
    assert found.low == pytest.approx(max(low for low, _ in pairs))


def test_lookbacks_are_compared_each_by_itself():
    hits, rows = np.array([[90.0, 50, 3], [30, 10, 9]]), np.array([[150.0, 150, 30], [60, 10, 40]])
    found = compare(hits, rows, np.array([0.01, 0.02]), 20)
    for at, alpha in enumerate((0.01, 0.02)):
        alone = compare(hits[[at]], rows[[at]], np.array([alpha]), 20)
        assert found.at(at) == pytest.approx(alone.at(0), nan_ok=True)


def test_no_group_is_no_comparison():
    found = compare(np.zeros((2, 0)), np.zeros((2, 0)), np.array([0.1, 0.1]), 20)
    assert np.isnan(found.difference).all()
    assert found.compared.tolist() == [0, 0]


def test_a_small_group_is_not_whom_others_are_judged_by():
    cells = (900, 1000), (100, 1000), (25, 25)
    assert of(*cells, reference="highest").low == pytest.approx(of(*cells[:2]).low)


def of_means(*groups, alpha=0.05, **options):
    rows, total, squares = (
        np.array([[f(np.asarray(each, float)) for each in groups]])
        for f in (len, np.sum, lambda x: (x**2).sum())
    )
    found = compare_means(total, squares, rows.astype(float), np.array([alpha]), 100, **options)
    return SimpleNamespace(**dict(zip(found._fields, found.at(0), strict=True)))


def test_means_are_compared_nearly_as_welch_does_and_never_more_boldly():
    rng = np.random.default_rng(7)
    first, second = rng.exponential(2, 300), rng.exponential(1, 150)
    found = of_means(first, second)
    assert found.difference == pytest.approx(first.mean() - second.mean())
    assert found.ratio == pytest.approx(second.mean() / first.mean())
    welch = ttest_ind(first, second, equal_var=False).confidence_interval(1 - 0.05)
    assert welch.low - 0.02 < found.low <= welch.low
    assert welch.high <= found.high < welch.high + 0.02
    assert found.ratio_low < found.ratio < found.ratio_high < 1


def test_means_with_a_sign_have_no_ratio():
    found = of_means(np.linspace(-2, 0, 200), np.linspace(-1, 1, 200), signed=True)
    assert found.difference == pytest.approx(1.0)
    assert math.isnan(found.ratio)
    assert math.isnan(found.ratio_high)


def test_intervals_of_means_cover_as_stated():
    rng, misses = np.random.default_rng(11), 0
    for _ in range(2000):
        found = of_means(rng.normal(1, 2, 120), rng.normal(0.5, 1, 150), signed=True)
        misses += found.low > 0.5
    assert misses / 2000 < 0.025 + 3 * math.sqrt(0.025 / 2000)


def test_the_best_of_negative_means_is_the_highest():
    few = np.linspace(-31, -29, 200), np.linspace(-11, -9, 200), np.linspace(-21, -19, 200)
    assert of_means(*few, signed=True, reference="highest").difference == pytest.approx(20)
