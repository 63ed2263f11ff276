import numpy as np
import pytest

from monitors.statistics.empirical_bernstein import bounded_mean_reach

SKEWED = {
    # True mean, and numbers from 0 to 1; of the last one hardly any sample shows what is rare.
    "uniform": (0.5, lambda rng, shape: rng.random(shape)),
    "beta": (1 / 41, lambda rng, shape: rng.beta(0.5, 20, shape)),
    "rare": (0.002, lambda rng, shape: (rng.random(shape) < 0.002) * 1.0),
}


def reach(values: np.ndarray, alpha: float, span: float = 1.0) -> np.ndarray:
    around = values - values.mean(axis=-1, keepdims=True)
    rows = np.array(float(values.shape[-1]))
    variance = values.var(axis=-1, ddof=1)
    return bounded_mean_reach(variance, (around**4).mean(axis=-1), rows, span, np.array(alpha))


@pytest.mark.parametrize("rows", [30, 1000])
@pytest.mark.parametrize("kind", SKEWED)
def test_both_bounds_hold_for_skewed_numbers(kind, rows):
    mean, draw = SKEWED[kind]
    values = draw(np.random.default_rng(7), (4000, rows))
    wrong = np.abs(values.mean(axis=1) - mean) > reach(values, 0.05)
    assert wrong.mean() <= 0.05


def test_many_rows_reach_nearly_as_little_as_if_they_were_normal():
    values = np.random.default_rng(7).beta(2, 5, (20, 20_000))
    normal = 5.2 * values.std(axis=1) / np.sqrt(20_000)  # of this level
    assert (reach(values, 1e-7) < 1.35 * normal).all()


def test_few_rows_are_bounded_without_their_fourth_moment():
    values = np.random.default_rng(7).random((1, 40))
    rows, alpha = np.array(40.0), np.array(1e-4)
    variance = values.var(axis=1, ddof=1)
    known = bounded_mean_reach(variance, np.array([1.0]), rows, 1.0, alpha)
    assert reach(values, 1e-4) == pytest.approx(known)


def test_the_reach_is_in_the_unit_of_the_numbers():
    values = np.random.default_rng(7).random((3, 500))
    assert reach(values * 10, 1e-5, span=10.0) == pytest.approx(10 * reach(values, 1e-5))
