"""Bodies of either kind come out whole wherever they are cut, with what came behind them."""

from __future__ import annotations

import itertools

import pytest

from serving.gateway.direct.http1.body_reader import BodyReader
from serving.gateway.direct.known_heads import BadHead
from serving.gateway.direct.time_slices import SAMPLE, SLICE_S, TimeSlices

LIMIT = 100
NEXT = b"GET / HTTP/1.1\r\n"
BODIES = {4: b"body", None: b"2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n"}


@pytest.fixture
def reader():
    return BodyReader(LIMIT, TimeSlices(lambda turn: None, lambda: 1.0))  # no turn is over


def behind(reader, data):
    """What a connection keeps for its next request."""
    return reader.left or data[reader.end :]


@pytest.mark.parametrize("length", BODIES)
def test_a_body_is_whole_wherever_it_is_cut(reader, length):
    data = BODIES[length] + NEXT
    for cut in range(len(data)):
        reader.expect(length)
        body = reader.take(data[:cut], 0)
        rest = data[cut:]
        if body is None:
            body = reader.take(b"xx" + rest, 2)
            assert behind(reader, b"xx" + rest) == NEXT
        else:
            assert behind(reader, data[:cut]) + rest == NEXT
        assert body == b"body"
        assert reader.missing == 0


def test_what_there_is_no_time_for_is_part_of_the_body_and_not_of_the_next_request():
    """The rest of chunks looks like what comes behind them: only the body tells which it is."""
    data = BODIES[None] + NEXT
    for cut in range(len(data)):
        now = itertools.count(1)
        slices = TimeSlices(lambda turn: None, lambda now=now: next(now) * SLICE_S)
        slices.over()  # the first look only begins the turn
        reader = BodyReader(LIMIT, slices)
        reader.expect(None)
        body, later, turns = None, data[:cut], 0
        for rest in (b"", data[cut:]):
            later += rest
            while body is None and later:
                turns += 1
                slices.spent = SAMPLE - 2  # over as soon as one line or chunk is read
                body = reader.take(later, 0)
                later = reader.left
        assert (body, later) == (b"body", NEXT)
        assert turns > 2


@pytest.mark.parametrize("row", [(None, 4), (4, None), (None, None, 4, 4)])
def test_what_came_behind_one_body_is_not_what_came_behind_the_next(reader, row):
    for length in row:
        reader.expect(length)
        data = BODIES[length] + NEXT
        assert reader.take(data, 0) == b"body"
        assert behind(reader, data) == NEXT
    reader.expect(4)
    assert reader.take(b"body", 0) == b"body"
    assert behind(reader, b"body") == b""


def test_the_size_of_chunks_is_known_as_they_come_and_is_no_other_body_s(reader):
    reader.expect(None)
    assert reader.take(b"5\r\nab", 0) is None
    assert reader.size == 5
    assert reader.take(b"cde\r\n3\r\nfgh\r\n0\r\n\r\n", 0) == b"abcdefgh"
    assert reader.size == 8
    reader.expect(4)
    assert reader.take(b"body", 0) == b"body"
    assert reader.size == 0


def test_pieces_from_the_middle_of_a_body_are_added_and_its_end_is_not(reader):
    assert not reader.add(b"a")  # no body is expected
    reader.expect(3)
    assert reader.add(b"a")
    assert reader.add(b"b")
    assert not reader.add(b"c")
    assert reader.take(b"c", 0) == b"abc"


def test_what_stands_before_the_first_piece_is_no_part_of_the_body(reader):
    reader.expect(4)
    assert reader.take(b"xxbo", 2) is None
    assert reader.missing == 2
    assert reader.take(b"dy", 0) == b"body"


def test_what_is_dropped_is_no_part_of_the_next_body(reader):
    reader.expect(None)
    assert reader.take(b"5\r\nab", 0) is None
    reader.drop()
    reader.expect(4)
    assert reader.add(b"bo")
    reader.drop()
    reader.expect(4)
    assert reader.take(b"body", 0) == b"body"


def test_too_long_a_body_is_refused_before_it_comes(reader):
    with pytest.raises(BadHead) as refused:
        reader.expect(LIMIT + 1)
    assert refused.value.status == 413
    reader.expect(None)
    with pytest.raises(BadHead) as refused:
        reader.take(b"%x\r\n" % (LIMIT + 1), 0)
    assert refused.value.status == 413
