"""The wire format of the channel.

A frame is two little-endian uint32 (bytes that follow, bytes of the header among them), a
msgpack header, then the tensors' raw bytes one after the other. Nothing is ever pickled.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from serving.channel.arena import LARGE
from serving.channel.frame_parts import Header, Message, OutHeader, Parts, TensorHeader
from serving.errors import InvalidInput
from serving.protocol.bytes_tensor import array_to_bytes, bytes_to_array
from serving.protocol.datatypes import NUMPY_OF
from serving.protocol.messages import Tensor

VERSION: Final = 1
PREFIX: Final = struct.Struct("<II")
MAX_FRAME: Final = 1 << 30
"""Bytes a peer may announce for one frame; more closes the connection."""


class FrameError(Exception):
    """The peer sent something that is no frame of this version, or one over the limit."""


_encoder = msgspec.msgpack.Encoder()
_decode_header = msgspec.msgpack.Decoder(Header).decode


def encode(
    kind: str,
    ident: int,
    meta: object,
    tensors: Sequence[Tensor | Parts] = (),
    place: Callable[[Sequence[memoryview], int], int] | None = None,
) -> list[Any]:
    """Return the buffers of one frame, ready for `writelines`; arrays are not copied.

    `place` is offered the bytes of every large tensor of numbers, in pieces, with their size; it
    returns where it has put them in shared memory, or -1 if it has not, and then they become a part
    of the frame.

    Raises:
        FrameError: the frame is over the limit at which the peer would close the connection.
    """
    headers: list[TensorHeader] = []
    buffers: list[Any] = [b""]
    payload = 0
    for tensor in tensors:
        if type(tensor) is Parts and place is not None:
            size = tensor.nbytes
            if (at := place([_bytes(array) for array in tensor.arrays], size)) >= 0:
                headers.append(TensorHeader(tensor.name, tensor.datatype, tensor.shape, size, at))
                continue
        data = tensor.data
        if tensor.datatype == "BYTES":
            buffer: Any = array_to_bytes(data)
            size = len(buffer)
        else:
            size = data.nbytes
            buffer = _bytes(data) if size else b""
            if place is not None and size >= LARGE and (at := place([buffer], size)) >= 0:
                headers.append(TensorHeader(tensor.name, tensor.datatype, data.shape, size, at))
                continue
        headers.append(TensorHeader(tensor.name, tensor.datatype, data.shape, size))
        buffers.append(buffer)
        payload += size
    header = _encoder.encode(OutHeader(kind, ident, meta, headers))
    size = 4 + len(header) + payload
    if size > MAX_FRAME:
        raise FrameError(f"a frame of {size} bytes is over the limit of {MAX_FRAME}")
    buffers[0] = PREFIX.pack(size, len(header)) + header
    return buffers


def _bytes(data: np.ndarray) -> memoryview:
    if not data.flags.c_contiguous:
        data = np.ascontiguousarray(data)
    return data.reshape(-1).view(np.uint8).data


def decode(frame: memoryview, shared: memoryview | None = None) -> Message:
    """Decode what follows the first uint32 of a frame; `frame` must stay unchanged.

    `shared` is the memory that the peer shares with us. Tensors in it are valid until the message
    is answered.

    Raises:
        FrameError: the header does not describe the payload.
    """
    size = int.from_bytes(frame[:4], "little")
    end = 4 + size
    if end > len(frame):
        raise FrameError("header longer than its frame")
    try:
        header = _decode_header(frame[4:end])
        tensors = _tensors(header.tensors, frame, end, shared)
        return Message(header.kind, header.id, header.meta, tensors, frame)
    except (msgspec.DecodeError, InvalidInput, ArithmeticError, LookupError, ValueError) as error:
        raise FrameError(f"malformed frame: {error}") from None


def _tensors(
    headers: list[TensorHeader], frame: memoryview, offset: int, shared: memoryview | None
) -> list[Tensor]:
    tensors = []
    for item in headers:
        if item.at >= 0:
            tensors.append(_shared(item, shared))
            continue
        stop = offset + item.nbytes
        if not offset <= stop <= len(frame):
            raise FrameError(f"tensor '{item.name}' ends behind its frame")
        if item.shape and min(item.shape) < 0:  # numpy would take -1 for "whatever fits"
            raise FrameError(f"tensor '{item.name}' has a negative dimension")
        raw = frame[offset:stop]
        if item.datatype == "BYTES":
            count = 1
            for dim in item.shape:
                count *= dim
            data = bytes_to_array(raw, count).reshape(item.shape)
        else:
            data = np.frombuffer(raw, NUMPY_OF[item.datatype]).reshape(item.shape)
        tensors.append(Tensor(item.name, item.datatype, item.shape, data))
        offset = stop
    if offset != len(frame):
        raise FrameError("bytes left over behind the last tensor")
    return tensors


def _shared(item: TensorHeader, shared: memoryview | None) -> Tensor:
    stop = item.at + item.nbytes
    if shared is None or not item.at <= stop <= len(shared) or item.datatype == "BYTES":
        raise FrameError(f"tensor '{item.name}' is not in the memory that is shared")
    if item.shape and min(item.shape) < 0:
        raise FrameError(f"tensor '{item.name}' has a negative dimension")
    data = np.frombuffer(shared[item.at : stop], NUMPY_OF[item.datatype]).reshape(item.shape)
    return Tensor(item.name, item.datatype, item.shape, data)


class FrameReader:
    """Cuts a byte stream into frames. Memory is bounded by `limit` plus one chunk."""

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._need = 4

    @property
    def waiting(self) -> int:
        """Bytes of a frame that is not complete yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[memoryview]:
        """Take in a chunk and return the complete frames (without the first uint32).

        Raises:
            FrameError: a frame is over the limit.
        """
        # Most chunks hold whole frames and nothing waits: cut them without a copy.
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._need:
                return []
            data = bytes(self._buffer)
            self._buffer.clear()
        frames: list[memoryview] = []
        view = memoryview(data)
        position, total = 0, len(data)
        while total - position >= 4:
            size = int.from_bytes(view[position : position + 4], "little")
            if size > self._limit:
                raise FrameError(f"frame of {size} bytes is over the limit of {self._limit}")
            if total - position - 4 < size:
                self._need = 4 + size
                break
            frames.append(view[position + 4 : position + 4 + size])
            position += 4 + size
        else:
            self._need = 4
        if position < total:
            self._buffer += view[position:]
        return frames
