"""BYTES tensors in binary: every element is its length (uint32, little-endian), then itself."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from serving.errors import InvalidInput

_LENGTH = struct.Struct("<I")


def bytes_to_array(
    buffer: bytes | bytearray | memoryview, count: int, where: str = "BYTES tensor"
) -> np.ndarray:
    """Return the `count` elements in `buffer` as an object array of `bytes`, shape [count].

    Raises:
        InvalidInput: `buffer` holds more or fewer elements, or ends within one; the message
            begins with `where`.
    """
    total = len(buffer)
    if 4 * count > total:
        raise InvalidInput(f"{where}: {total} bytes are too few for {count} BYTES elements")
    elements: list[bytes] = []
    at = 0
    for index in range(count):
        start = at + 4
        if start > total:
            raise InvalidInput(f"{where}: the data ends before element {index} of {count}")
        at = start + _LENGTH.unpack_from(buffer, at)[0]
        if at > total:
            raise InvalidInput(f"{where}: element {index} is said to end beyond the data")
        elements.append(bytes(buffer[start:at]))
    if at != total:
        raise InvalidInput(f"{where}: {total - at} bytes are left after {count} elements")
    return object_array(elements, (count,))


def array_to_bytes(array: np.ndarray) -> bytes:
    """Return an object array of `bytes` (any shape) as length-prefixed elements, in C order."""
    pack = _LENGTH.pack
    parts: list[bytes] = []
    for element in array.ravel().tolist():
        parts.append(pack(len(element)))
        parts.append(element)
    return b"".join(parts)


def object_array(elements: list[Any], shape: tuple[int, ...]) -> np.ndarray:
    """Return `elements`, given in C order, as an object array of `shape`."""
    array = np.empty(len(elements), dtype=np.object_)
    array[:] = elements
    return array.reshape(shape)
