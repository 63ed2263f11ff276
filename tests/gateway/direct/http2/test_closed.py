"""Closed streams: what is late and what is wrong, within bounded memory."""

from __future__ import annotations

import pytest

from serving.gateway.direct.http2.closed import MOST_GAPS, MOST_UNFINISHED, ClosedStreams
from serving.http2.frames import PROTOCOL_ERROR, STREAM_CLOSED, ProtocolError


def code(closed, ident, opens):
    try:
        closed.require_late(ident, opens)
    except ProtocolError as error:
        return error.code
    return None


@pytest.mark.parametrize("opens", [True, False])
def test_what_the_gateway_ended_first_may_still_be_sent(opens):
    closed = ClosedStreams()
    closed.unfinished(5)
    assert code(closed, 5, opens) is None
    assert code(closed, 3, opens) == STREAM_CLOSED
    closed.ended(5)
    assert code(closed, 5, opens) == STREAM_CLOSED


def test_a_number_that_was_passed_over_opens_nothing_any_more():
    closed = ClosedStreams()
    closed.opened(7, 0)
    closed.opened(13, 9)
    assert [ident for ident in range(1, 14, 2) if code(closed, ident, True) == PROTOCOL_ERROR] == [
        1, 3, 5, 11,
    ]  # fmt: skip
    assert code(closed, 3, False) == STREAM_CLOSED


def test_what_is_remembered_is_bounded_and_the_doubt_is_the_clients():
    closed = ClosedStreams()
    for n in range(3 * MOST_UNFINISHED):
        closed.unfinished(2 * n + 1)
        closed.opened(4 * n + 5, 4 * n + 1)
    assert len(closed._unfinished) == MOST_UNFINISHED
    assert len(closed._gaps) == MOST_GAPS
    assert code(closed, 1, True) is None
