"""The wire format: what goes in comes out, however it is cut, and nothing malformed gets in."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from serving.channel import frames
from serving.channel.frame_parts import TensorHeader
from serving.channel.frames import FrameError, FrameReader
from serving.protocol.bytes_tensor import object_array
from serving.protocol.datatypes import NUMPY_OF
from serving.protocol.messages import Tensor

shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    datatype = draw(st.sampled_from(sorted(NUMPY_OF)))
    shape = draw(shapes)
    if datatype == "BYTES":
        count = int(np.prod(shape))
        elements = draw(st.lists(st.binary(max_size=9), min_size=count, max_size=count))
        data = object_array(elements, shape)
    else:
        data = draw(hnp.arrays(NUMPY_OF[datatype], shape))
    return Tensor(draw(st.text(max_size=8)), datatype, shape, data)


metas = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


def joined(*arguments: Any) -> bytes:
    return b"".join(frames.encode(*arguments))


def same(a: np.ndarray, b: np.ndarray) -> bool:
    if a.dtype == object:
        return a.shape == b.shape and a.tolist() == b.tolist()
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@given(st.text(max_size=9), st.integers(0, 2**63), metas, st.lists(tensors(), max_size=4))
def test_round_trip(kind: str, ident: int, meta: Any, sent: list[Tensor]) -> None:
    message = frames.decode(memoryview(joined(kind, ident, meta, sent))[4:])
    assert (message.kind, message.id) == (kind, ident)
    assert msgspec.msgpack.decode(message.meta) == meta
    assert len(message.tensors) == len(sent)
    for got, want in zip(message.tensors, sent, strict=True):
        assert (got.name, got.datatype, got.shape) == (want.name, want.datatype, want.shape)
        assert same(got.data, want.data)


@pytest.mark.parametrize("make", [lambda a: a.T, lambda a: a[:, ::2], lambda a: a[::-1]])
def test_arrays_that_are_not_contiguous_arrive_as_they_look(make: Any) -> None:
    array = make(np.arange(12, dtype=np.float32).reshape(3, 4))
    message = frames.decode(
        memoryview(joined("k", 1, None, [Tensor("x", "FP32", array.shape, array)]))[4:]
    )
    np.testing.assert_array_equal(message.tensors[0].data, array)


def test_received_arrays_are_read_only_views_of_the_frame() -> None:
    array = np.arange(4, dtype=np.int64)
    frame = joined("k", 1, None, [Tensor("x", "INT64", (4,), array)])
    data = frames.decode(memoryview(frame)[4:]).tensors[0].data
    assert not data.flags.owndata
    assert not data.flags.writeable


@given(st.data())
def test_any_chunking_gives_the_same_frames(data: st.DataObject) -> None:
    payloads = data.draw(st.lists(st.binary(max_size=40), min_size=1, max_size=6))
    stream = b"".join(len(p).to_bytes(4, "little") + p for p in payloads)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    edges = [0, *cuts, len(stream)]
    reader = FrameReader()
    got = []
    for start, stop in itertools.pairwise(edges):
        got += [bytes(frame) for frame in reader.feed(stream[start:stop])]
    assert got == payloads
    assert reader.waiting == 0


def test_byte_by_byte() -> None:
    stream = joined("k", 7, {"a": 1}) * 3
    reader = FrameReader()
    got = [frame for byte in stream for frame in reader.feed(bytes([byte]))]
    assert [frames.decode(frame).id for frame in got] == [7, 7, 7]


def test_a_frame_over_the_limit_is_refused_before_it_is_kept() -> None:
    reader = FrameReader(limit=100)
    assert len(reader.feed((100).to_bytes(4, "little") + bytes(100))) == 1
    with pytest.raises(FrameError, match="over the limit"):
        reader.feed((101).to_bytes(4, "little"))
    assert reader.waiting == 0


class CountingBuffer(bytearray):
    """Counts the bytes that are taken out of it as a whole; clocks are noisy, this is not."""

    taken = 0

    def clear(self) -> None:
        self.taken += len(self)
        super().clear()


def test_a_large_frame_in_small_chunks_is_put_together_once() -> None:
    size, chunk = 1 << 20, bytes(1024)
    reader = FrameReader()
    reader._buffer = buffer = CountingBuffer()
    reader.feed(size.to_bytes(4, "little"))
    for _ in range(size // len(chunk) - 1):
        assert not reader.feed(chunk)
    assert len(reader.feed(chunk)) == 1
    # Once for the four bytes and once for all of it; every chunk would make 500 times as much.
    assert size <= buffer.taken <= 2 * size


def test_a_frame_that_the_peer_would_refuse_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "MAX_FRAME", 1000)
    with pytest.raises(FrameError, match="over the limit"):
        frames.encode("k", 1, None, [Tensor("x", "UINT8", (1000,), np.zeros(1000, np.uint8))])


def crafted(headers: list[Any], payload: bytes, header: bytes | None = None) -> memoryview:
    encode = msgspec.msgpack.encode
    head = encode(["k", 1, None, headers]) if header is None else header
    return memoryview(len(head).to_bytes(4, "little") + head + payload)


@pytest.mark.parametrize(
    ("headers", "payload"),
    [
        ([TensorHeader("x", "FP32", (2,), 8)], bytes(7)),
        ([TensorHeader("x", "FP32", (2,), 8)], bytes(9)),
        ([TensorHeader("x", "FP32", (3,), 8)], bytes(8)),
        ([TensorHeader("x", "FP32", (-1,), 8)], bytes(8)),
        ([TensorHeader("x", "FP32", (-1, -1), 0)], b""),
        ([TensorHeader("x", "BYTES", (-1, 4), 0)], b""),
        ([TensorHeader("x", "FP31", (2,), 8)], bytes(8)),
        ([TensorHeader("x", "FP32", (2**63,), 0)], b""),
        ([TensorHeader("x", "FP32", (0, 2**63), 0)], b""),
        ([TensorHeader("x", "FP32", (2**32, 2**32), 0)], b""),
        ([TensorHeader("x", "FP32", (2,), 2**63)], bytes(8)),
        ([TensorHeader("x", "UINT8", (8,), 8), TensorHeader("y", "UINT8", (0,), -8)], bytes(8)),
        ([TensorHeader("x", "FP32", (1,), 3)], bytes(3)),
        ([TensorHeader("x", "BYTES", (1,), 5)], b"\x02\0\0\0a"),
        ([TensorHeader("x", "BYTES", (2**63,), 4)], bytes(4)),
        ([TensorHeader("x", "BYTES", (1,), 3)], bytes(3)),
        (["x"], b""),
        ([["x", "FP32", "shape", 0]], b""),
    ],
)
def test_headers_that_do_not_describe_the_payload(headers: list[Any], payload: bytes) -> None:
    with pytest.raises(FrameError):
        frames.decode(crafted(headers, payload))


@pytest.mark.parametrize("header", [b"", b"\xc1", b"\x90", b"\x94\xa1k", b"\xff" * 9])
def test_headers_that_are_none(header: bytes) -> None:
    with pytest.raises(FrameError):
        frames.decode(crafted([], b"", header))


@given(st.binary(max_size=60))
def test_noise_is_a_frame_error_or_a_message(noise: bytes) -> None:
    with contextlib.suppress(FrameError):
        frames.decode(memoryview(noise))


@given(st.data())
def test_a_damaged_frame_is_a_frame_error_or_a_message(data: st.DataObject) -> None:
    good = joined("k", 1, {"a": 1}, [Tensor("x", "FP32", (2, 2), np.ones((2, 2), np.float32))])[4:]
    at = data.draw(st.integers(0, len(good) - 1))
    damaged = bytearray(good)
    damaged[at] = data.draw(st.integers(0, 255))
    try:
        message = frames.decode(memoryview(bytes(damaged)))
    except FrameError:
        return
    for tensor in message.tensors:
        assert tensor.shape == tensor.data.shape
