import numpy as np
import pytest
from numpy.testing import assert_array_equal

from monitors.performance.predicted_class import predicted_class


def test_takes_the_largest_score_and_marks_nan():
    scores = np.array([[0.1, 0.9], [0.8, 0.2], [np.nan, 0.5]], dtype=np.float32)
    assert_array_equal(predicted_class(scores), [1, 0, -1])


def test_takes_class_indices_as_they_are():
    assert_array_equal(predicted_class(np.array([2, 0], dtype=np.int32)), [2, 0])
    assert_array_equal(predicted_class(np.array([True, False])), [1, 0])


@pytest.mark.parametrize(
    "output", [np.ones(3), np.ones((3, 1)), np.ones((3, 2, 2)), np.array([[b"a", b"b"]], object)]
)
def test_refuses_what_names_no_class(output):
    with pytest.raises(ValueError, match="names no class"):
        predicted_class(output)
