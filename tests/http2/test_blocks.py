"""Header blocks, encoded by the hpack package."""

from __future__ import annotations

import pytest
from hpack import Encoder

from serving.http2.blocks import BlockReader
from serving.http2.frames import ProtocolError


def test_a_block_is_understood_once_as_long_as_the_table_is_the_same():
    encoder, understood = Encoder(), []
    reader = BlockReader(lambda fields: understood.append(fields) or fields, 1000)
    fields = [(b"grpc-status", b"0")]
    reader.read(encoder.encode(fields))
    block = encoder.encode(fields)
    assert reader.read(block) == reader.read(block) == fields
    assert len(understood) == 2
    reader.read(encoder.encode([(b"grpc-message", b"")]))
    again = encoder.encode(fields)
    assert reader.read(again) == fields
    assert len(understood) == 4


def test_what_is_refused_by_who_understands_leaves_the_table_right():
    encoder = Encoder()

    def understand(fields):
        if fields[0][0] == b"bad":
            raise ValueError("bad")
        return fields

    reader = BlockReader(understand, 1000)
    with pytest.raises(ValueError, match="bad"):
        reader.read(encoder.encode([(b"bad", b"1")]))
    assert reader.read(encoder.encode([(b"good", b"2")])) == [(b"good", b"2")]


@pytest.mark.parametrize("fields", [[(b"a", b"b" * 2000)], [(b"a", b"b")] * 200])
def test_what_is_too_large(fields):
    with pytest.raises(ProtocolError, match="too large"):
        BlockReader(list, 1000).read(Encoder().encode(fields))
