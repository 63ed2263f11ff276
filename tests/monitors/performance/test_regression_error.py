import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

from monitors.performance.regression_error import absolute_error, squared_error


@pytest.mark.parametrize("shape", [(40,), (40, 1)])
def test_errors_are_scikit_learns(shape):
    rng = np.random.default_rng(0)
    predicted, truth = rng.normal(size=shape), rng.normal(size=shape)
    mae = absolute_error(predicted, truth)
    assert mae.shape == (40,)
    assert mae.mean() == pytest.approx(mean_absolute_error(truth, predicted))
    rmse = squared_error(predicted, truth).mean() ** 0.5
    assert rmse == pytest.approx(root_mean_squared_error(truth, predicted))


def test_several_numbers_of_a_row_weigh_alike():
    predicted, truth = np.zeros((2, 2)), np.array([[1.0, 3.0], [2.0, 2.0]])
    assert absolute_error(predicted, truth).tolist() == [2, 2]
    assert squared_error(predicted, truth).tolist() == [5, 4]
    expected = mean_absolute_error(truth, predicted, multioutput="uniform_average")
    assert absolute_error(predicted, truth).mean() == expected


def test_no_rows_have_no_errors():
    assert absolute_error(np.zeros(0), np.zeros(0)).shape == (0,)
