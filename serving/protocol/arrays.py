"""Tensors from what Python code has at hand: arrays, lists and numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from serving.errors import InvalidInput
from serving.protocol.datatypes import fp32_to_bf16, numpy_dtype
from serving.protocol.messages import Tensor


def tensor_of(name: str, datatype: str, value: ArrayLike) -> Tensor:
    """Return `value` as a tensor of an OIP datatype; text becomes UTF-8 where it is BYTES.

    The tensor has memory of its own: monitors read it after the caller has had the answer.

    Raises:
        InvalidInput: it is ragged, or has elements that the datatype cannot hold.
    """
    dtype = numpy_dtype(datatype)
    try:
        given = np.asarray(value)
        if datatype == "BYTES":
            array = _encoded(given)
        elif datatype == "BF16":
            array = fp32_to_bf16(given.astype(np.float32, casting="same_kind"))
        else:
            array = given.astype(dtype, order="C", casting="same_kind", copy=True)
    except (TypeError, ValueError):
        raise InvalidInput(
            f"input '{name}' has datatype {datatype}; give it an array of {dtype.name}"
        ) from None
    if given.dtype.kind in "iu" and array.dtype.kind in "iu" and (array != given).any():
        raise InvalidInput(f"input '{name}' has numbers that {datatype} cannot hold")
    return Tensor(name, datatype, given.shape, array.reshape(given.shape))


def _encoded(given: np.ndarray) -> np.ndarray:
    elements = [item.encode() if isinstance(item, str) else item for item in given.ravel().tolist()]
    if not all(isinstance(item, bytes) for item in elements):
        raise TypeError
    array = np.empty(len(elements), np.object_)
    array[:] = elements
    return array.reshape(given.shape)
