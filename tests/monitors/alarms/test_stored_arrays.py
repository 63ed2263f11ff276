"""Arrays as bytes."""

import numpy as np
import pytest

from monitors.alarms.stored_arrays import fill, packed


def test_arrays_come_back_as_they_were():
    arrays = {
        "a": np.array([[1.5, np.nan], [np.inf, -0.0]]),
        "b": np.array([True, False]),
        "c": np.array([3, -4], np.int64),
        "d": np.arange(6.0).reshape(2, 3).T,
    }
    again = {name: np.zeros_like(array) for name, array in arrays.items()}
    fill(again, packed(arrays))
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, again[name])


def test_another_size_is_refused_before_anything_is_written():
    into = {"a": np.zeros(2), "b": np.zeros(3)}
    with pytest.raises(ValueError, match="another size"):
        fill(into, packed({"a": np.ones(2), "b": np.ones(2)}))
    assert into["a"].sum() == 0
