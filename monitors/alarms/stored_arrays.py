"""Arrays as bytes, one after the other, and back into arrays of the same shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Arrays = Mapping[str, npt.NDArray[Any]]


def packed(arrays: Arrays) -> bytes:
    """Return the content of arrays; any numbers, NaN and infinity too."""
    return b"".join(
        np.ascontiguousarray(array, _kind(array)).tobytes() for array in arrays.values()
    )


def fill(arrays: Arrays, content: bytes) -> None:
    """Write what `packed` returned into arrays of the same shapes, in the same order.

    Raises:
        ValueError: it is of other arrays; then nothing was written.
    """
    sizes = [array.size * np.dtype(_kind(array)).itemsize for array in arrays.values()]
    if sum(sizes) != len(content):
        raise ValueError("the stored arrays have another size")
    at = 0
    for array, size in zip(arrays.values(), sizes, strict=True):
        values = np.frombuffer(content, _kind(array), array.size, at)
        array[...] = values.reshape(array.shape)
        at += size


def _kind(array: npt.NDArray[Any]) -> str:
    """Little-endian, so that a state may move to another machine."""
    return "<i8" if array.dtype.kind == "i" else "?" if array.dtype.kind == "b" else "<f8"
