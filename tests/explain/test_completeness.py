import numpy as np
from numpy.testing import assert_allclose

from explain.completeness import SMALLEST_DIFFERENCE, relative_completeness_error


def test_is_relative_to_the_difference_but_not_to_nothing():
    delta = np.array([0.1, -0.1, 0.0, SMALLEST_DIFFERENCE])
    difference = np.array([1.0, -0.5, 0.0, 0.0])
    assert_allclose(relative_completeness_error(delta, difference), [0.1, 0.2, 0, 1])
