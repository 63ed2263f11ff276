"""Typed tensor contents of gRPC messages, to and from arrays."""

from __future__ import annotations

import math
import struct
from typing import Any, Final

import numpy as np

from serving.errors import InvalidInput
from serving.protocol.bytes_tensor import object_array
from serving.protocol.datatypes import NUMPY_OF, numpy_dtype
from serving.protocol.messages import Tensor
from serving.protocol.pb.open_inference_pb2 import InferTensorContents

# The field for each datatype, and the code by which `struct` packs it; packing checks ranges.
_FIELDS: Final[dict[str, tuple[str, str]]] = {
    "BOOL": ("bool_contents", "?"),
    "UINT8": ("uint_contents", "B"),
    "UINT16": ("uint_contents", "H"),
    "UINT32": ("uint_contents", "I"),
    "UINT64": ("uint64_contents", "Q"),
    "INT8": ("int_contents", "b"),
    "INT16": ("int_contents", "h"),
    "INT32": ("int_contents", "i"),
    "INT64": ("int64_contents", "q"),
    "FP32": ("fp32_contents", "f"),
    "FP64": ("fp64_contents", "d"),
    "BYTES": ("bytes_contents", ""),
}


def has_typed_form(datatype: str) -> bool:
    """Whether tensors of `datatype` can travel as typed contents; FP16 and BF16 cannot."""
    return datatype in _FIELDS


def decode_contents(
    name: str, datatype: str, shape: tuple[int, ...], contents: InferTensorContents
) -> np.ndarray:
    """Return typed `contents` as an array of `shape`.

    Raises:
        InvalidInput: `datatype` is unknown or has no typed form, the elements are in another
            datatype's field, one is out of range, or there are more or fewer than in `shape`.
    """
    if datatype not in _FIELDS:
        numpy_dtype(datatype)
        raise InvalidInput(
            f"input '{name}': {datatype} has no typed contents; send it in raw_input_contents"
        )
    field, code = _FIELDS[datatype]
    wrong = [other.name for other, _ in contents.ListFields() if other.name != field]
    if wrong:
        raise InvalidInput(f"input '{name}': {datatype} belongs in {field}, not in {wrong[0]}")
    values = getattr(contents, field)
    count = math.prod(shape)
    if len(values) != count:
        raise InvalidInput(
            f"input '{name}': shape {list(shape)} has {count} elements, but contents has "
            f"{len(values)}"
        )
    if datatype == "BYTES":
        return object_array(list(values), shape)
    try:
        packed = struct.pack(f"{count}{code}", *values)
    except struct.error:
        raise InvalidInput(
            f"input '{name}': contents has a value out of range for {datatype}"
        ) from None
    return np.ndarray(shape, NUMPY_OF[datatype], packed)


def encode_contents(tensor: Tensor) -> InferTensorContents:
    """Return `tensor` as typed contents; its datatype must have that form."""
    field, _ = _FIELDS[tensor.datatype]
    elements: dict[str, Any] = {field: tensor.data.ravel().tolist()}
    return InferTensorContents(**elements)
