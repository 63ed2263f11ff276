"""BYTES as text: every element decoded, the shape kept, what is no UTF-8 refused."""

import numpy as np
import pytest

from serving.errors import InvalidInput
from serving.models.text import texts_of


def array(values, shape=None):
    found = np.empty(len(values), object)
    found[:] = values
    return found if shape is None else found.reshape(shape)


TEXTS = ["a", "", "Grüße", "語", "😀", "a\0b\0", " \n", "\ufeff"]


@pytest.mark.parametrize("shape", [(8,), (8, 1), (2, 4), (2, 2, 2)])
def test_every_element_is_decoded_in_its_place(shape):
    given = array([text.encode() for text in TEXTS], shape)
    found = texts_of("x", given)
    assert found.dtype == object
    assert found.shape == shape
    assert found.ravel().tolist() == TEXTS
    assert {type(text) for text in found.flat} == {str}


def test_what_was_given_stays():
    given = array([b"a", b"b"])
    assert texts_of("x", given) is not given
    assert given.tolist() == [b"a", b"b"]


@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0)])
def test_no_elements_are_no_texts(shape):
    found = texts_of("x", np.empty(shape, object))
    assert found.shape == shape
    assert found.dtype == object


def test_one_element_without_axes():
    found = texts_of("x", array([b"a"], ()))
    assert (found.shape, found.item()) == ((), "a")


@pytest.mark.parametrize("view", [np.s_[::-1], np.s_[:, 1], np.s_[::2, ::2]])
def test_elements_that_do_not_lie_side_by_side(view):
    given = array([b"a", b"b", b"c", b"d", b"e", b"f"], (3, 2))
    assert texts_of("x", given[view]).tolist() == [
        [each.decode() for each in row] if isinstance(row, list) else row.decode()
        for row in given[view].tolist()
    ]
    assert texts_of("x", given.T).tolist() == [["a", "c", "e"], ["b", "d", "f"]]


@pytest.mark.parametrize(
    "wrong",
    [b"\xff", b"Gr\xfc\xdfe", b"\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\xf5\x80\x80\x80"],
    ids=["no lead byte", "latin-1", "cut off", "surrogate", "overlong", "beyond Unicode"],
)
@pytest.mark.parametrize("place", [0, 2])
def test_what_is_no_utf_8_is_refused_with_its_input(wrong, place):
    given = array([b"a", b"b", b"c"])
    given[place] = wrong
    with pytest.raises(InvalidInput) as caught:
        texts_of("words", given)
    assert caught.value.message == "input 'words': holds bytes that are no text; send UTF-8"
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
