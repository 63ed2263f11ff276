import numpy as np
import pytest
from numpy.testing import assert_allclose

from monitors.statistics.population_stability_index import debiased_population_stability_index
from monitors.statistics.population_stability_index import population_stability_index as psi


def test_equals_the_textbook_sum_for_large_counts():
    reference, current = np.array([20, 30, 50]) * 10**7, np.array([30, 30, 40]) * 10**7
    p, q = np.array([0.2, 0.3, 0.5]), np.array([0.3, 0.3, 0.4])
    assert psi(reference, current) == pytest.approx(((q - p) * np.log(q / p)).sum(), rel=1e-6)


def test_equal_shares_give_zero():
    assert psi(np.array([10, 0, 30]), np.array([1, 0, 3])) == pytest.approx(0, abs=1e-12)


def test_a_bin_that_is_empty_on_one_side_is_finite_and_on_both_sides_nothing():
    one = psi(np.array([100, 0]), np.array([80, 20]))
    assert 0 < one < 2
    assert psi(np.array([100, 0, 0]), np.array([80, 20, 0])) == pytest.approx(one)


def test_is_vectorised_over_columns():
    rng = np.random.default_rng(0)
    reference, current = rng.integers(0, 50, (6, 8)), rng.integers(0, 50, (6, 8))
    rows = [psi(r, c) for r, c in zip(reference, current, strict=True)]
    assert_allclose(psi(reference, current), rows)


def test_no_rows_give_nan():
    assert np.isnan(psi(np.array([1, 2]), np.array([0, 0])))


def test_without_drift_it_is_about_what_the_docstring_says():
    rng = np.random.default_rng(0)
    reference = rng.multinomial(5000, [0.05] * 20, 500)
    current = rng.multinomial(500, [0.05] * 20, 500)
    assert psi(reference, current).mean() == pytest.approx(19 * (1 / 5000 + 1 / 500), rel=0.1)


def test_columns_at_once_are_to_the_bit_as_one_by_one():
    rng = np.random.default_rng(3)
    for bins in (1, 2, 3, 8, 24, 130):
        reference, current = rng.integers(0, 40, size=(2, 30, bins))
        current[0] = reference[1] = 0
        at_once = psi(reference, current)
        pairs = zip(reference, current, strict=True)
        one_by_one = [float(psi(*pair)) for pair in pairs]
        np.testing.assert_array_equal(at_once, one_by_one)


def test_without_a_change_the_debiased_index_is_zero_on_average():
    rng = np.random.default_rng(0)
    reference = rng.multinomial(2000, np.full(10, 0.1), size=2000)
    current = rng.multinomial(500, np.full(10, 0.1), size=2000)
    plain = psi(reference, current)
    value, reach = debiased_population_stability_index(reference, current)
    assert plain.mean() == pytest.approx(9 * (1 / 2000 + 1 / 500), rel=0.1)
    assert value.mean() == pytest.approx(0.0, abs=1e-3)
    assert (np.abs(value) <= reach).mean() >= 0.95


def test_the_interval_of_a_changed_index_covers_the_truth():
    rng = np.random.default_rng(1)
    p, q = np.full(10, 0.1), np.linspace(0.05, 0.15, 10)
    truth = float(((q - p) * np.log(q / p)).sum())
    reference = rng.multinomial(2000, p, size=2000)
    current = rng.multinomial(1000, q, size=2000)
    value, reach = debiased_population_stability_index(reference, current)
    assert value.mean() == pytest.approx(truth, rel=0.03)
    assert 0.93 <= (np.abs(value - truth) <= reach).mean() <= 0.99


def test_dependence_takes_rows_away_from_the_window():
    counts = np.full((2, 10), 100)
    value, reach = debiased_population_stability_index(counts, counts, np.array([1.0, 5.0]))
    assert reach[1] > 2 * reach[0]
    assert value[1] < value[0] < 0


def test_without_rows_there_is_neither_index_nor_interval():
    value, reach = debiased_population_stability_index(np.zeros(3, int), np.ones(3, int))
    assert np.isnan(value)
    assert np.isnan(reach)
