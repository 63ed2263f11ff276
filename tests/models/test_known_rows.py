from dataclasses import replace

import numpy as np
import pytest

from serving.errors import InvalidInput
from serving.models.known_rows import example_inputs, known_batch, repeated

EXAMPLE = b'{"inputs": [{"name": "x", "shape": [2, 3], "datatype": "FP32", "data": [1,2,3,4,5,6]}]}'


@pytest.fixture
def entry(make_factory_model):
    return replace(make_factory_model(), example=EXAMPLE)


def test_an_example_is_decoded_and_repeated(entry):
    np.testing.assert_array_equal(example_inputs(entry)["x"], [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(known_batch(entry, 3)["x"], [[1, 2, 3], [4, 5, 6], [1, 2, 3]])
    assert known_batch(entry, 1)["x"].shape == (1, 3)


def test_without_an_example_rows_are_blank(entry):
    without = replace(entry, example=None)
    assert example_inputs(without) == {}
    np.testing.assert_array_equal(known_batch(without, 2)["x"], np.zeros((2, 3), np.float32))


def test_an_example_without_rows_gives_blank_ones(entry):
    empty = replace(
        entry, example=EXAMPLE.replace(b"[2, 3]", b"[0, 3]").replace(b"1,2,3,4,5,6", b"")
    )
    assert example_inputs(empty) == {}
    np.testing.assert_array_equal(known_batch(empty, 1)["x"], np.zeros((1, 3), np.float32))


def test_an_example_that_is_no_request_is_refused(entry):
    with pytest.raises(InvalidInput):
        known_batch(replace(entry, example=b"{"), 1)


def test_rows_are_repeated_in_their_order():
    rows = np.array([[1, 2], [3, 4]])
    np.testing.assert_array_equal(repeated(rows, 5), [[1, 2], [3, 4], [1, 2], [3, 4], [1, 2]])
    np.testing.assert_array_equal(repeated(rows, 1), [[1, 2]])
