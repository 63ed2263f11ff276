"""Which features of a row are played with, and how a masked row and its values are put together."""

import numpy as np
import pytest

from explain.attribution import CannotExplain
from explain.masked_rows import MaskedRows, fit_baseline

X = np.array([[1, 2, 3], [0, 2, 0]], np.float32)
ZEROS = np.zeros_like(X)
TEXT = np.array([[b"a"], [b""]], object)
NO_TEXT = np.array([[b""], [b""]], object)


def as_lists(players):
    return [player.tolist() for player in players]


def test_only_what_differs_from_the_baseline_plays():
    rows = MaskedRows({"x": X, "t": TEXT}, {"x": ZEROS, "t": NO_TEXT}, at_most=10)
    assert rows.features == 4
    assert as_lists(rows.players()) == [[0, 1, 2, 3], [1]]


def test_a_missing_value_always_plays():
    missing = np.array([[np.nan, 1]])
    assert as_lists(MaskedRows({"x": missing}, {"x": missing.copy()}, 10).players()) == [[0]]


def test_a_feature_of_several_elements_plays_if_one_differs():
    rows = MaskedRows({"x": np.array([[0, 0, 0, 5], [0, 0, 0, 0]])}, {"x": np.zeros((2, 4))}, 2)
    assert rows.features == 2
    assert as_lists(rows.players()) == [[1], []]


@pytest.mark.parametrize("at_most", [0, 1, 2])
def test_every_input_has_a_feature_however_few_are_allowed(at_most):
    rows = MaskedRows({"x": X, "t": TEXT}, {"x": ZEROS, "t": NO_TEXT}, at_most)
    assert rows.features == 2
    assert as_lists(rows.players()) == [[0, 1], [0]]


def test_rows_without_elements_have_no_features():
    rows = MaskedRows({"x": np.zeros((2, 0))}, {"x": np.zeros((2, 0))}, 10)
    assert rows.features == 0
    assert as_lists(rows.players()) == [[], []]
    assert rows.spread(np.zeros((2, 0)))["x"].shape == (2, 0)


def test_present_features_are_the_rows_and_others_its_baselines():
    image = np.arange(1, 9).reshape(2, 2, 2)
    rows = MaskedRows({"x": image, "t": TEXT}, {"x": -image, "t": NO_TEXT}, 10)
    present = np.array([[1, 0, 0, 1, 1], [0, 0, 0, 0, 0], [1, 1, 1, 1, 0]], bool)
    found = rows.mixed(np.array([1, 0, 1]), present)
    assert found["x"].tolist() == [
        [[5, -6], [-7, 8]],
        [[-1, -2], [-3, -4]],
        [[5, 6], [7, 8]],
    ]
    assert found["t"].tolist() == [[b""], [b""], [b""]]
    assert (found["x"].dtype, found["t"].dtype) == (image.dtype, TEXT.dtype)
    assert rows.mixed(np.array([0]), np.ones((1, 5), bool))["t"].tolist() == [[b"a"]]
    np.testing.assert_array_equal(image, np.arange(1, 9).reshape(2, 2, 2))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_first_input_that_is_not_finite_is_named_by_row(value):
    whole = np.ones((2, 1), np.int64)
    y, z = np.ones((2, 2, 1), np.float16), np.ones((2, 1))
    y[1, 1], z[1] = value, value
    inputs = {"whole": whole, "t": TEXT, "y": y, "z": z}
    rows = MaskedRows(inputs, inputs, 10)
    assert rows.not_finite(0) is None
    assert rows.not_finite(1) == "y"


def test_a_features_value_is_shared_by_its_elements_that_differ():
    x = np.array([[[1, 0], [2, 3]], [[0, 0], [0, 4]]])
    rows = MaskedRows({"x": x, "t": TEXT}, {"x": np.zeros_like(x), "t": NO_TEXT}, 2)
    assert rows.features == 2
    found = rows.spread(np.array([[6.0, 7.0], [-1.0, 99.0]]))
    assert found["x"].tolist() == [[[2, 0], [2, 2]], [[0, 0], [0, -1]]]
    assert found["t"].tolist() == [[7], [0]]  # text that is the baseline's gets nothing
    assert {array.dtype for array in found.values()} == {np.dtype(np.float64)}


# -- baselines ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "array", "expected"),
    [
        (None, X, [[0, 0, 0]] * 2),
        (None, TEXT, [[b""]] * 2),
        (None, np.ones((2, 1), bool), [[False]] * 2),
        (2, X, [[2, 2, 2]] * 2),
        (np.array([[1, 2, 3]]), X, [[1, 2, 3]] * 2),
        (np.array([[1], [2]]), X, [[1, 1, 1], [2, 2, 2]]),
        (np.array([[b"k"]], object), TEXT, [[b"k"]] * 2),
        # Means of whole numbers and of yes and no.
        (np.array([0.4, 0.6, -0.6]), np.ones((1, 3), np.int32), [[0, 1, -1]]),
        (np.array([0.4, 0.6, 1.5]), np.ones((1, 3), np.uint8), [[0, 1, 2]]),
        (np.array([0.4, 0.6]), np.ones((1, 2), bool), [[False, True]]),
        (np.array([0.4]), np.ones((1, 1)), [[0.4]]),
    ],
)
def test_a_baseline_has_the_shape_and_datatype_of_its_input(value, array, expected):
    found = fit_baseline("x", value, array)
    assert found.tolist() == expected
    assert found.dtype == array.dtype


@pytest.mark.parametrize("shape", [(2,), (3, 3), (1, 2, 3), (0,)])
def test_a_baseline_of_another_shape_is_refused(shape):
    with pytest.raises(CannotExplain) as caught:
        fit_baseline("x", np.zeros(shape), X)
    assert str(caught.value) == (
        f"baseline 'x' of shape {list(shape)} does not fit the input's [2, 3]"
    )
    assert caught.value.__suppress_context__
