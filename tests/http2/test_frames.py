"""Frames, read back by the hpack package and by ourselves."""

from __future__ import annotations

import pytest
from hpack import Decoder
from hypothesis import given
from hypothesis import strategies as st

from serving.http2 import frames as f


@given(st.binary(min_size=1, max_size=300), st.binary(max_size=20_000))
def test_literals_are_what_the_decoder_reads(name, value):
    decoder = Decoder(max_header_list_size=1 << 20)
    assert [tuple(field) for field in decoder.decode(f.literal(name, value), raw=True)] == [
        (name, value)
    ]
    assert not decoder.header_table.dynamic_entries


@given(st.integers(0, 70_000), st.sampled_from([16_384, 20_000]))
def test_long_blocks_go_on_in_further_frames(size, most):
    raw, at, kinds, found = f.headers(f.END_STREAM, 5, bytes(size), most), 0, [], b""
    while at < len(raw):
        high, low, kind, flags, ident = f.read_head(raw, at)
        length = high << 8 | low
        assert ident == 5
        assert length <= most
        kinds.append((kind, bool(flags & f.END_HEADERS), bool(flags & f.END_STREAM)))
        found += raw[at + 9 : at + 9 + length]
        at += 9 + length
    assert found == bytes(size)
    assert [k for k, _, _ in kinds] == [f.HEADERS] + [f.CONTINUATION] * (len(kinds) - 1)
    assert [e for _, e, _ in kinds] == [False] * (len(kinds) - 1) + [True]
    assert kinds[0][2]
    assert not any(s for _, _, s in kinds[1:])


def test_settings_are_read_as_they_are_written():
    raw = f.settings({1: 2, 3: 2**32 - 1})
    assert f.read_settings(raw[9:]) == [(1, 2), (3, 2**32 - 1)]
    with pytest.raises(f.ProtocolError):
        f.read_settings(raw[9:-1])
