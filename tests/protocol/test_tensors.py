import numpy as np
import pytest

from serving.errors import InvalidInput
from serving.protocol.messages import Tensor
from serving.protocol.tensors import check_input, tensor_from_buffer, tensor_to_buffer


def test_numbers_are_a_view():
    buffer = np.arange(6, dtype=np.int16).tobytes()
    tensor = tensor_from_buffer("x", "INT16", (2, 3), memoryview(buffer))
    assert tensor.data.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert not tensor.data.flags.owndata
    assert not tensor.data.flags.writeable


@pytest.mark.parametrize(
    ("datatype", "shape", "size", "words"),
    [
        ("FP32", (2, 3), 23, "needs 24 bytes, not 23"),
        ("FP32", (2**32, 2**32, 16), 0, "needs"),
        ("FP32", (-1, -2), 8, "not possible"),
        ("FP32", (0, 2**70), 0, "not possible"),
        ("FP31", (1,), 4, "unknown datatype"),
    ],
)
def test_wrong_buffers(datatype, shape, size, words):
    with pytest.raises(InvalidInput, match=words):
        tensor_from_buffer("x", datatype, shape, bytes(size))


def test_a_bool_is_0_or_1():
    assert tensor_from_buffer("x", "BOOL", (2,), b"\0\1").data.tolist() == [False, True]
    with pytest.raises(InvalidInput, match="0 or 1"):
        tensor_from_buffer("x", "BOOL", (2,), b"\0\2")


def test_empty_tensors_pass():
    assert tensor_from_buffer("x", "BOOL", (0, 3), b"").data.shape == (0, 3)
    assert tensor_from_buffer("x", "BYTES", (0,), b"").data.shape == (0,)


@pytest.mark.parametrize("rows", [3, 3000])
def test_to_buffer_is_c_order_for_any_layout(rows):
    data = np.arange(rows * 4, dtype=np.float32).reshape(4, rows)
    for one in (data, data.T, data[:, ::2], np.asfortranarray(data)):
        buffer = tensor_to_buffer(Tensor("y", "FP32", one.shape, one))
        assert bytes(buffer) == one.tobytes()
        assert len(buffer) == one.nbytes


@pytest.mark.parametrize("shape", [(-1, 3), (0, 1 << 49), (1 << 40, 0, 1 << 40), (1,) * 33])
def test_shapes_that_clients_may_not_send(shape):
    with pytest.raises(InvalidInput, match="shape"):
        check_input("x", shape)


@pytest.mark.parametrize("name", ["", "x" * 257])
def test_names_that_clients_may_not_send(name):
    with pytest.raises(InvalidInput, match="1 to 256 characters"):
        check_input(name, (1,))
