import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.covariance import ledoit_wolf

from guards.feature.ledoit_wolf import ledoit_wolf_covariance


@pytest.mark.parametrize(("rows", "width"), [(500, 4), (50, 64), (64, 64), (2, 3)])
def test_equals_scikit_learn(rows, width):
    rng = np.random.default_rng(rows)
    data = rng.normal(size=(rows, width)) * rng.random(width)
    expected, _ = ledoit_wolf(data, assume_centered=True)
    assert_allclose(ledoit_wolf_covariance(data), expected, rtol=1e-9, atol=1e-12)


def test_is_invertible_with_fewer_rows_than_columns():
    data = np.random.default_rng(0).normal(size=(5, 40))
    assert np.linalg.eigvalsh(ledoit_wolf_covariance(data)).min() > 0
