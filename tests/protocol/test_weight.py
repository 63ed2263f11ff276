"""What an array weighs, values included that it only refers to."""

from typing import Any

import numpy as np
import pytest

from serving.protocol.weight import weight


@pytest.mark.parametrize(
    ("array", "values"),
    [
        (np.zeros((3, 2), np.float32), 0),
        (np.broadcast_to(np.float32([1, 2]), (100, 2)), 0),
        (np.array([[b"", b"ab"], [b"c" * 100, b"d"]], object), 103),
        (np.array(["man", None, ""], object), 3),
        (np.empty((0, 2), object), 0),
    ],
)
def test_it_is_the_array_and_its_values(array: np.ndarray[Any, Any], values: int) -> None:
    assert weight(array) == array.size * array.itemsize + values
