"""Tensors from and to raw buffers, for the binary extension, gRPC and the channel alike."""

from __future__ import annotations

import math

import numpy as np

from serving.errors import InvalidInput
from serving.protocol.bytes_tensor import array_to_bytes, bytes_to_array
from serving.protocol.datatypes import NUMPY_OF, numpy_dtype
from serving.protocol.messages import Parameters, Tensor

Buffer = bytes | bytearray | memoryview

MAX_RANK = 32
MAX_NAME = 256
# Every one of them costs the loop that serves everybody some time, even if only to refuse it.
MOST_TENSORS = 4096
_MOST_BESIDE_ZERO = 1 << 48
_BOOL = NUMPY_OF["BOOL"]
_BYTES = NUMPY_OF["BYTES"]
# Below this, a copy is cheaper than a view.
_COPY_BELOW = 4096


def check_input(name: str, shape: tuple[int, ...]) -> None:
    """Check the name and shape that a client gave to an input.

    Raises:
        InvalidInput: the name is empty or longer than `MAX_NAME`, a dimension is below 0 or
            impossibly large, or there are more than `MAX_RANK`.
    """
    if not 1 <= len(name) <= MAX_NAME:
        raise InvalidInput(f"the name of an input must have 1 to {MAX_NAME} characters")
    if len(shape) > MAX_RANK:
        raise InvalidInput(f"input '{name}': shape has more than {MAX_RANK} dimensions")
    if shape and min(shape) < 1:
        if min(shape) < 0:
            raise InvalidInput(
                f"input '{name}': shape {list(shape)} has a dimension below 0; give the real sizes"
            )
        # Where one is 0 the number of elements does not bound the others.
        if math.prod(size for size in shape if size) > _MOST_BESIDE_ZERO:
            raise InvalidInput(f"input '{name}': shape {list(shape)} is not possible")


def tensor_from_buffer(
    name: str,
    datatype: str,
    shape: tuple[int, ...],
    buffer: Buffer,
    parameters: Parameters | None = None,
) -> Tensor:
    """Return the tensor whose elements are all of `buffer`: little-endian, in C order.

    Numbers become a view on `buffer`, not a copy; it may be unaligned.

    Raises:
        InvalidInput: `datatype` is unknown, `buffer` has not exactly the size that datatype
            and shape need, or a BOOL is neither 0 nor 1.
    """
    dtype = NUMPY_OF.get(datatype) or numpy_dtype(datatype)
    count = math.prod(shape)
    if dtype is _BYTES:
        data = bytes_to_array(buffer, count, f"tensor '{name}'").reshape(shape)
        return Tensor(name, datatype, shape, data, parameters)
    if len(buffer) != count * dtype.itemsize:
        raise InvalidInput(
            f"tensor '{name}': {datatype} of shape {list(shape)} needs "
            f"{count * dtype.itemsize} bytes, not {len(buffer)}"
        )
    try:
        # One call instead of frombuffer and reshape.
        data = np.ndarray(shape, dtype, buffer)
    except ValueError:
        raise InvalidInput(f"tensor '{name}': shape {list(shape)} is not possible") from None
    if dtype is _BOOL and count and data.view(np.uint8).max() > 1:
        raise InvalidInput(f"tensor '{name}': a BOOL byte must be 0 or 1")
    return Tensor(name, datatype, shape, data, parameters)


def tensor_to_buffer(tensor: Tensor) -> bytes | memoryview:
    """Return the elements of `tensor`: little-endian, in C order, BYTES length-prefixed.

    Large contiguous arrays come back as a view on their memory.
    """
    data = tensor.data
    if data.dtype is _BYTES or data.dtype == _BYTES:
        return array_to_bytes(data)
    if data.nbytes < _COPY_BELOW or not data.flags.c_contiguous:
        return data.tobytes()
    return data.reshape(-1).view(np.uint8).data
