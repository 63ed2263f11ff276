"""Bodies in pieces: what they add up to, what they weigh, and where they end."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from serving.errors import InvalidInput, Overloaded, PayloadTooLarge
from serving.gateway.body_budget import BodyBudget, Share
from serving.gateway.http.bodies import read_chunks, too_large


def share_of(most: int = 1 << 20) -> Share:
    return Share(BodyBudget(most, 1), counted=False)


class Client:
    """Sends messages one after the other, and counts those that were taken."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self._messages, self.taken = messages, 0

    async def receive(self) -> dict[str, Any]:
        self.taken += 1
        return {"type": "http.request", **self._messages[self.taken - 1]}


def pieces(*bodies: bytes) -> Client:
    more = [{"body": body, "more_body": True} for body in bodies[:-1]]
    return Client(*more, {"body": bodies[-1]})


@pytest.mark.parametrize("count", [1, 2, 1022, 1023, 1024, 2047, 2500])
async def test_pieces_are_joined_in_their_order(count: int) -> None:
    bodies = [b"%d," % number for number in range(count + 1)]
    client = pieces(*bodies[1:])
    assert await read_chunks(bodies[0], client.receive, 1 << 20, share_of()) == b"".join(bodies)
    assert client.taken == count


async def test_a_message_may_leave_out_what_is_not_there() -> None:
    client = Client({"more_body": True}, {"body": b"b", "more_body": True}, {})
    assert await read_chunks(b"a", client.receive, 10, share_of()) == b"ab"


async def test_the_limit_holds_before_the_next_piece_is_taken() -> None:
    assert await read_chunks(b"ab", pieces(b"cd").receive, 4, share_of()) == b"abcd"
    client = pieces(b"cd", b"e", b"never taken")
    with pytest.raises(PayloadTooLarge) as told:
        await read_chunks(b"ab", client.receive, 4, share_of())
    assert client.taken == 2
    assert told.value.message == too_large(4).message
    assert told.value.message == "the body is over the limit of 4 bytes; send a smaller one"


async def test_a_client_that_leaves_has_sent_no_body() -> None:
    client = Client({"body": b"b", "more_body": True}, {"type": "http.disconnect"})
    with pytest.raises(InvalidInput, match="the client went away before the body's end"):
        await read_chunks(b"a", client.receive, 10, share_of())


async def test_each_piece_is_charged_as_it_comes() -> None:
    share, charged = share_of(), []

    class Looking(Client):
        async def receive(self) -> dict[str, Any]:
            charged.append(share.charged)
            return await super().receive()

    client = Looking({"body": b"bcd", "more_body": True}, {"body": b"e"})
    await read_chunks(b"a", client.receive, 10, share)
    assert [*charged, share.charged] == [1, 4, 5]


@pytest.mark.parametrize(("first", "taken"), [(b"a" * 20, 0), (b"a", 1)])
async def test_without_room_nothing_more_is_taken(first: bytes, taken: int) -> None:
    client = pieces(b"b" * 20, b"c")
    with pytest.raises(Overloaded):
        await read_chunks(first, client.receive, 100, share_of(10))
    assert client.taken == taken


async def test_small_chunks_weigh_what_is_in_them() -> None:
    share = Share(BodyBudget(1 << 20, 1 << 20), counted=False)
    left = 50_000

    async def receive() -> dict[str, Any]:
        nonlocal left
        left -= 1
        return {"type": "http.request", "body": bytes([left % 256, 7]), "more_body": left > 0}

    tracemalloc.start()
    try:
        read = await read_chunks(b"", receive, 1 << 20, share)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(read) == 100_000
    assert peak < 750_000  # objects of their own would be 35 bytes and a pointer each
