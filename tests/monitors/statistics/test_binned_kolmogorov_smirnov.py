import itertools
import math

import numpy as np
import pytest
from scipy import stats

from monitors.reference.profile import ReferenceProfile
from monitors.statistics.binned_kolmogorov_smirnov import (
    LEAST_P_VALUE,
    binned_kolmogorov_smirnov,
    kolmogorov_smirnov_bound,
)


@pytest.mark.parametrize(("n", "m", "shift"), [(40, 23, 0.4), (15, 60, 1.0), (200, 200, 0.1)])
def test_equals_the_classical_exact_test_when_every_value_has_its_bin(n, m, shift):
    rng = np.random.default_rng(n)
    reference, current = rng.normal(size=n), rng.normal(shift, size=m)
    is_reference = np.isin(np.sort(np.concatenate([reference, current])), reference)
    found = binned_kolmogorov_smirnov(is_reference.astype(int), (~is_reference).astype(int))
    expected = stats.ks_2samp(reference, current, method="exact")
    assert found == pytest.approx((expected.statistic, expected.pvalue), rel=1e-9)


@pytest.mark.parametrize(
    ("reference", "current"),
    [([3, 1, 2], [0, 2, 2]), ([0, 4, 1, 1], [3, 0, 0, 1]), ([5], [3]), ([2, 2], [2, 2])],
)
def test_equals_the_enumeration_of_all_splits(reference, current):
    reference, current = np.array(reference), np.array(current)
    pool = np.repeat(np.arange(len(reference)), reference + current)
    n, m = reference.sum(), current.sum()

    def gap(chosen):
        cumulated = np.cumsum(np.bincount(pool[list(chosen)], minlength=len(reference)))
        rest = np.cumsum(reference + current) - cumulated
        return np.abs(cumulated * n - rest * m).max()

    observed = np.abs(np.cumsum(current) * n - np.cumsum(reference) * m).max()
    gaps = [gap(chosen) for chosen in itertools.combinations(range(n + m), m)]
    share = np.mean(np.array(gaps) >= observed)
    found = binned_kolmogorov_smirnov(reference, current)
    assert found == pytest.approx((observed / (n * m), share), rel=1e-9)


def test_is_more_powerful_than_the_classical_p_value_on_tied_data():
    reference, current = np.array([300, 200]), np.array([100, 100])
    classical = stats.ks_2samp(np.repeat([0, 1], reference), np.repeat([0, 1], current)).pvalue
    fisher = stats.fisher_exact([reference, current]).pvalue
    _, p_value = binned_kolmogorov_smirnov(reference, current)
    assert p_value == pytest.approx(fisher, rel=0.05)
    assert p_value < classical / 3


def test_empty_bins_change_nothing():
    reference, current = np.array([30, 50, 20]), np.array([10, 10, 20])
    spread = np.zeros(7, dtype=np.int64)
    wide_reference, wide_current = spread.copy(), spread.copy()
    wide_reference[[1, 2, 5]], wide_current[[1, 2, 5]] = reference, current
    assert binned_kolmogorov_smirnov(wide_reference, wide_current) == binned_kolmogorov_smirnov(
        reference, current
    )


def test_without_rows_there_is_nothing_to_say():
    statistic, p_value = binned_kolmogorov_smirnov(np.array([3, 4]), np.array([0, 0]))
    assert math.isnan(statistic)
    assert p_value == 1


def test_disjoint_samples_reach_the_least_p_value():
    found = binned_kolmogorov_smirnov(np.array([5000, 0]), np.array([0, 1000]))
    assert found == (1, LEAST_P_VALUE)


def test_large_samples_are_quick_and_finite():
    rng = np.random.default_rng(0)
    reference, current = rng.multinomial(10**6, [0.05] * 20), rng.multinomial(10**5, [0.05] * 20)
    _, p_value = binned_kolmogorov_smirnov(reference, current)
    assert 1e-4 < p_value <= 1


DRAWS = {
    "normal": lambda rng, size: rng.normal(size=size),
    "counts": lambda rng, size: rng.poisson(3, size).astype(float),
    "zero inflated": lambda rng, size: np.where(
        rng.random(size) < 0.6, 0, rng.exponential(size=size)
    ),
}


@pytest.mark.parametrize("kind", DRAWS)
@pytest.mark.parametrize(("n", "m"), [(5000, 200), (300, 200)])
def test_null_p_values_are_valid_although_edges_come_from_the_reference(kind, n, m):
    rng = np.random.default_rng(7)
    windows = 1000
    p_values = []
    for _ in range(windows):
        column = ReferenceProfile.fit({"x": DRAWS[kind](rng, n)}).columns["x"]
        current = np.bincount(column.codes(DRAWS[kind](rng, m)), minlength=column.bins)
        p_values.append(binned_kolmogorov_smirnov(column.counts, current)[1])
    for level in (0.2, 0.05, 0.01):
        realised = np.mean(np.array(p_values) <= level)
        assert realised <= level + 2 * math.sqrt(level * (1 - level) / windows)


@pytest.mark.parametrize(("n", "m"), [(300, 200), (500, 500), (5000, 1000), (50, 1000)])
@pytest.mark.parametrize("shift", [0.0, 0.1, 0.3])
def test_the_quick_bound_is_never_below_the_exact_p_value(n: int, m: int, shift: float) -> None:
    generator = np.random.default_rng(n + m)
    edges = np.linspace(-2, 2, 19)
    for _ in range(20):
        reference, current = (
            np.bincount(np.searchsorted(edges, generator.normal(mean, 1, size)), minlength=20)
            for mean, size in ((0.0, n), (shift, m))
        )
        gap, exact = binned_kolmogorov_smirnov(reference, current)
        quick, bound = kolmogorov_smirnov_bound(reference, current)
        assert quick == pytest.approx(gap, abs=1e-12)
        assert bound >= exact
