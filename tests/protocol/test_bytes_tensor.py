"""BYTES tensors in binary: elements with their lengths, and buffers that do not hold them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import InvalidInput
from serving.protocol.bytes_tensor import array_to_bytes, bytes_to_array, object_array


@given(st.lists(st.binary(max_size=20), max_size=8))
def test_bytes_round_trip(elements):
    array = object_array(elements, (len(elements),))
    assert bytes_to_array(array_to_bytes(array), len(elements)).tolist() == elements


@pytest.mark.parametrize(
    ("buffer", "count", "words"),
    [
        (b"\x01\0\0", 1, "too few"),
        (b"\x02\0\0\0a", 1, "end beyond"),
        (b"\xff\xff\xff\xff", 1, "end beyond"),
        (b"\x05\0\0\0abcde", 2, "ends before element 1"),
        (b"\x01\0\0\0a\x01\0\0\0b", 1, "5 bytes are left"),
        (b"", 1, "too few"),
        (b"", 2**70, "too few"),
    ],
)
def test_broken_bytes(buffer, count, words):
    with pytest.raises(InvalidInput, match=f"^here: .*{words}"):
        bytes_to_array(buffer, count, "here")


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview])
def test_elements_are_bytes_of_their_own_whatever_they_came_in(make):
    array = bytes_to_array(make(b"\x02\0\0\0ab\0\0\0\0"), 2)
    assert (array.dtype, array.shape) == (np.object_, (2,))
    assert [(type(element), element) for element in array] == [(bytes, b"ab"), (bytes, b"")]


def test_none_of_nothing_is_fine_and_of_something_is_not():
    assert bytes_to_array(b"", 0).shape == (0,)
    with pytest.raises(InvalidInput, match=r"^BYTES tensor: 4 bytes are left after 0 elements$"):
        bytes_to_array(b"\0\0\0\0", 0)


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_length_that_is_cut_is_an_end_within_the_data(cut):
    buffer = b"\x04\0\0\0abcd" + b"\x01\0\0\0"[:cut]
    with pytest.raises(InvalidInput, match="the data ends before element 1 of 2"):
        bytes_to_array(buffer, 2)


def test_lengths_are_little_endian():
    assert array_to_bytes(object_array([b"a" * 258], (1,)))[:4] == b"\x02\x01\0\0"


def test_any_layout_is_written_in_the_order_of_c():
    array = object_array([b"a", b"b", b"c", b"d"], (2, 2))
    assert array_to_bytes(array.T) == array_to_bytes(object_array([b"a", b"c", b"b", b"d"], (4,)))


@pytest.mark.parametrize("shape", [(4,), (2, 2), (4, 1), (2, 1, 2)])
def test_elements_stand_in_the_order_of_c(shape):
    # Elements of equal lengths, which numpy would take for another axis.
    elements = [[1, 2], [3, 4], [5, 6], [7, 8]]
    array = object_array(elements, shape)
    assert (array.dtype, array.shape) == (np.object_, shape)
    assert list(array.ravel()) == elements


def test_an_object_array_may_be_empty_or_one_value():
    assert object_array([], (0, 3)).shape == (0, 3)
    assert object_array([b"a"], ()).item() == b"a"
