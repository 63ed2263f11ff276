"""What a frame of the channel holds: its header, and what becomes of it at the receiver.

Apart from `frames`, because structs stay interpreted where that is compiled.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from serving.protocol.messages import Tensor


class TensorHeader(msgspec.Struct, array_like=True, frozen=True):
    """Where a tensor lies: in the frame's payload, where the one before it there ends; or, when
    `at` is not -1, in the memory that the sender shares with the receiver."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    nbytes: int
    at: int = -1


class Parts(msgspec.Struct, frozen=True):
    """A tensor of numbers whose rows lie in several arrays, not joined yet."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    arrays: tuple[np.ndarray, ...]

    @property
    def data(self) -> np.ndarray:
        """The rows joined."""
        return np.concatenate(self.arrays)

    @property
    def nbytes(self) -> int:
        """Bytes of all rows."""
        return sum(array.nbytes for array in self.arrays)


class Header(msgspec.Struct, array_like=True):
    """What a frame is. `id` pairs a request with its reply; 0 expects none."""

    kind: str
    id: int
    meta: msgspec.Raw
    tensors: list[TensorHeader]


class OutHeader(msgspec.Struct, array_like=True):
    """A header as it is sent, its `meta` not encoded yet."""

    kind: str
    id: int
    meta: Any
    tensors: list[TensorHeader]


class Message(msgspec.Struct):
    """A received frame. `meta` is undecoded msgpack; arrays are read-only views on the frame.

    `frame` is what it was decoded from, for whoever keeps it as it came.
    """

    kind: str
    id: int
    meta: msgspec.Raw
    tensors: list[Tensor]
    frame: bytes | memoryview = b""
