"""Which class of each row is explained: the one asked for, or the one with the largest output."""

import numpy as np
import pytest

from explain.attribution import CannotExplain
from explain.target import explained_target

OUTPUTS = np.array([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3], [0.4, 0.4, 0.2], [-3, -2, -1]])


def test_without_a_wish_the_largest_output_is_explained():
    found = explained_target(OUTPUTS, None)
    assert found.tolist() == [1, 0, 0, 2]  # of equals the first
    assert found.dtype == np.int64


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.uint8])
def test_outputs_may_be_numbers_of_any_kind(dtype):
    found = explained_target(np.array([[1, 3, 2]], dtype), None)
    assert (found.tolist(), found.dtype) == ([1], np.int64)


@pytest.mark.parametrize("kind", [list, tuple, np.int32, np.uint64, np.int64])
def test_the_classes_asked_for_are_explained(kind):
    target = [2, 0, 1, 2]
    found = explained_target(OUTPUTS, kind(target))
    assert (found.tolist(), found.dtype) == (target, np.int64)


def test_what_was_asked_for_is_not_shared():
    target = np.array([2, 0, 1, 2])
    explained_target(OUTPUTS, target)[:] = 0
    assert target.tolist() == [2, 0, 1, 2]


@pytest.mark.parametrize(
    "target",
    [
        [],
        [1],
        [1, 1, 1],
        [1, 1, 1, 1, 1],
        [[1], [1], [1], [1]],
        1,
        [1.0, 1.0, 1.0, 1.0],
        [True, True, False, True],
        ["1", "1", "1", "1"],
        [None, 1, 1, 1],
        [2**70, 1, 1, 1],
    ],
)
def test_what_is_not_one_index_for_each_row_is_refused(target):
    with pytest.raises(CannotExplain, match=r"^target must be one class index for each of the 4 r"):
        explained_target(OUTPUTS, target)


@pytest.mark.parametrize("wrong", [-1, 3, 2**40, -(2**63)])
@pytest.mark.parametrize("place", [0, 3])
def test_a_class_that_the_model_does_not_have_is_refused(wrong, place):
    target = [1, 1, 1, 1]
    target[place] = wrong
    with pytest.raises(CannotExplain, match=r"^target must be between 0 and 2$"):
        explained_target(OUTPUTS, target)


def test_an_unsigned_index_does_not_become_negative():
    with pytest.raises(CannotExplain, match="between 0 and 2"):
        explained_target(OUTPUTS[:1], np.array([2**64 - 1], np.uint64))


def test_a_model_of_one_class_has_no_other():
    outputs = np.ones((2, 1))
    assert explained_target(outputs, None).tolist() == [0, 0]
    assert explained_target(outputs, [0, 0]).tolist() == [0, 0]
    with pytest.raises(CannotExplain, match="between 0 and 0"):
        explained_target(outputs, [0, 1])
