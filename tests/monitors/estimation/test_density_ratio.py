import numpy as np

from monitors.estimation.density_ratio import density_ratio

NUMBERS = np.zeros(2, np.bool_)


def test_weights_move_the_mean_of_the_reference_towards_the_rows():
    rng = np.random.default_rng(0)
    reference, rows = rng.normal(size=(4000, 2)), rng.normal(size=(1000, 2))
    rows[:, 0] += 1
    weights = density_ratio(reference, rows, NUMBERS, 0)
    assert abs(weights.mean() - 1) < 1e-9
    means = (reference * weights[:, None]).mean(axis=0)
    assert 0.75 < means[0] < 1.1
    assert abs(means[1]) < 0.1
    true = np.exp(reference[:, 0] - 0.5)
    assert np.corrcoef(np.log(weights), np.log(true))[0, 1] > 0.9


def test_without_a_shift_hardly_any_row_counts_more_than_another():
    rng = np.random.default_rng(1)
    weights = density_ratio(rng.normal(size=(3000, 2)), rng.normal(size=(1000, 2)), NUMBERS, 0)
    assert 1 / (weights**2).mean() > 0.9  # effective share of the rows


def test_categories_and_missing_values():
    rng = np.random.default_rng(2)
    reference, rows = rng.integers(4, size=(2000, 2)) * 1.0, rng.integers(4, size=(500, 2)) * 1.0
    reference[:200, 1] = np.nan
    rows[:, 0] = 2
    weights = density_ratio(reference, rows, np.array([True, False]), 0)
    assert weights[reference[:, 0] == 2].mean() > 10 * weights[reference[:, 0] != 2].mean()


def test_few_rows_and_no_columns_have_equal_weights():
    few = np.arange(20.0)[:, None]
    assert (density_ratio(few, few, NUMBERS[:1], 0) == 1).all()
    assert (density_ratio(np.empty((99, 0)), np.empty((99, 0)), NUMBERS[:0], 0) == 1).all()
