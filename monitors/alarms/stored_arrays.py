"""Arrays as text that JSON can hold, and back into the arrays that they were taken of."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt


def stored(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, str]:
    """Return arrays as compressed text; any numbers, NaN and infinity too."""
    return {
        name: base64.b64encode(
            zlib.compress(np.ascontiguousarray(array, _kind(array)).tobytes(), 1)
        ).decode()
        for name, array in arrays.items()
    }


def fill(arrays: Mapping[str, npt.NDArray[Any]], state: Mapping[str, str]) -> None:
    """Write what `stored` returned into arrays of the same names and shapes.

    Raises:
        ValueError, KeyError, TypeError: the state is of other arrays; then nothing was written.
    """
    read = {name: _read(name, state[name], array) for name, array in arrays.items()}
    for name, array in arrays.items():
        array[...] = read[name]


def _read(name: str, text: str, like: npt.NDArray[Any]) -> npt.NDArray[Any]:
    try:
        raw = zlib.decompress(base64.b64decode(text, validate=True))
    except (binascii.Error, zlib.error) as broken:
        raise ValueError(f"the stored array {name!r} is damaged") from broken
    values = np.frombuffer(raw, _kind(like))
    if values.size != like.size:
        raise ValueError(f"the stored array {name!r} has another size")
    return values.reshape(like.shape)


def _kind(array: npt.NDArray[Any]) -> str:
    """Little-endian, so that a state may move to another machine."""
    return "<i8" if array.dtype.kind == "i" else "?" if array.dtype.kind == "b" else "<f8"
