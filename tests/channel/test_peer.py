"""A connection that is kept: lost and opened again, moved, asked for, closed, and logged."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from serving.channel import peer as module
from serving.channel.connection import ChannelClosed, Connection
from serving.channel.endpoint import ChannelServer, connect
from serving.channel.peer import Peer, State

Serve = Callable[..., Awaitable[ChannelServer]]
Wait = Callable[[Callable[[], object]], Awaitable[None]]


class Kept:
    """A peer and what it told."""

    def __init__(self) -> None:
        self.up: list[Connection] = []
        self.down = 0
        self.peer = Peer("the control plane", None, on_up=self.up.append, on_down=self._lost)

    def _lost(self) -> None:
        self.down += 1


@pytest.fixture
async def kept() -> AsyncIterator[Kept]:
    made = Kept()
    yield made
    made.peer.close()
    await asyncio.sleep(0.01)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that peers make from now on, each of which is over at once."""
    made: list[float] = []
    wait = Peer._wait

    def note(peer: Peer) -> None:
        made.append(peer._pause_s)
        wait(peer)
        assert peer._pause is not None
        peer._pause.cancel()
        peer._pause = asyncio.get_running_loop().call_later(0.001, peer._try)

    monkeypatch.setattr(Peer, "_wait", note)
    return made


@pytest.fixture
def mute(tmp_path: Path) -> Any:
    """Where somebody listens who never shakes hands."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{tmp_path}/mute")
        listening.listen()
        yield f"unix:{tmp_path}/mute"


def drop(server: ChannelServer) -> None:
    for connection in list(server.connections):
        connection.abort()


async def test_it_comes_up_once_somebody_is_there(
    serve: Serve, unix: str, kept: Kept, eventually: Wait
) -> None:
    assert kept.peer.state is State.IDLE
    kept.peer.reach(unix)
    await eventually(lambda: kept.peer.state is State.WAITING)
    assert kept.peer.connection is None
    await serve(unix)
    await eventually(lambda: kept.up)
    assert kept.peer.state is State.UP
    assert [kept.peer.connection] == kept.up
    assert kept.down == 0


async def test_what_is_lost_is_opened_again(
    serve: Serve, unix: str, kept: Kept, eventually: Wait
) -> None:
    server = await serve(unix)
    kept.peer.reach(unix)
    for times in (1, 2, 3):
        await eventually(lambda times=times: len(kept.up) == times and server.connections)
        drop(server)
        await eventually(lambda times=times: kept.down == times)
        assert kept.peer.state is not State.UP
        assert kept.peer.connection is None


async def test_pauses_grow_up_to_a_bound(unix: str, kept: Kept, pauses: list[float]) -> None:
    kept.peer.reach(unix)
    async with asyncio.timeout(60):
        while len(pauses) < 6:  # noqa: ASYNC110 - it does not tell
            await asyncio.sleep(0.001)
    assert pauses[:6] == [0.1, 0.2, 0.4, 0.5, 0.5, 0.5]


async def test_only_a_connection_that_lasts_makes_them_short_again(
    serve: Serve,
    unix: str,
    kept: Kept,
    eventually: Wait,
    pauses: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Or one that closes each connection at once would be asked in a tight loop."""
    server = await serve(unix)
    kept.peer.reach(unix)
    monkeypatch.setattr(module, "LASTING_S", 3600.0)
    for times in (1, 2, 3):
        await eventually(lambda times=times: len(kept.up) == times and server.connections)
        drop(server)
        await eventually(lambda times=times: len(pauses) == times)
    assert pauses == [0.1, 0.2, 0.4]
    monkeypatch.setattr(module, "LASTING_S", 0.0)
    await eventually(lambda: len(kept.up) == 4 and server.connections)
    drop(server)
    await eventually(lambda: len(pauses) == 4)
    assert pauses[3] == 0.1


async def test_a_connection_that_is_lost_before_anybody_has_it_was_never_up(
    serve: Serve,
    unix: str,
    kept: Kept,
    eventually: Wait,
    pauses: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def lost_at_once(*args: Any, **options: Any) -> Connection:
        connection = await connect(*args, **options)
        connection.abort()
        await asyncio.sleep(0.001)
        return connection

    await serve(unix)
    with monkeypatch.context() as patch:
        patch.setattr(module, "connect", lost_at_once)
        kept.peer.reach(unix)
        await eventually(lambda: len(pauses) >= 2)
    assert not kept.up
    await eventually(lambda: kept.up)
    assert kept.down == 0


async def test_another_address_takes_the_place_of_the_one_before(
    serve: Serve, unix: str, kept: Kept, eventually: Wait
) -> None:
    first = await serve(unix)
    second = await serve(unix + "2")
    kept.peer.reach(unix)
    await eventually(lambda: kept.up)
    kept.peer.reach(unix)
    assert kept.peer.state is State.UP
    kept.peer.reach(unix + "2")
    assert kept.down == 1
    await eventually(lambda: len(kept.up) == 2 and not first.connections)
    assert len(second.connections) == 1
    await asyncio.sleep(0.01)  # that the first one closes is known, and is no loss
    assert (kept.down, kept.peer.state) == (1, State.UP)


async def test_an_attempt_that_hangs_is_given_up_for_another_address(
    serve: Serve, unix: str, mute: str, kept: Kept, eventually: Wait
) -> None:
    await serve(unix)
    kept.peer.reach(mute)
    await asyncio.sleep(0.01)
    assert kept.peer.state is State.CONNECTING
    kept.peer.reach(unix)
    await eventually(lambda: kept.up)
    assert kept.down == 0


async def test_who_asks_gets_the_connection_that_is_open(
    serve: Serve, unix: str, kept: Kept
) -> None:
    await serve(unix)
    kept.peer.reach(unix)
    both = await asyncio.gather(kept.peer.connected(), kept.peer.connected())
    assert both == [kept.up[0], kept.up[0]]
    assert await kept.peer.connected() is kept.up[0]


async def test_who_asks_waits_for_no_pause(
    serve: Serve, unix: str, kept: Kept, eventually: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST_PAUSE_S", 3600.0)
    kept.peer.reach(unix)
    await eventually(lambda: kept.peer.state is State.WAITING)
    kept.peer._pause_s = 3600.0
    with pytest.raises(ChannelClosed, match="cannot connect"):
        await kept.peer.connected()
    assert kept.peer.state is State.WAITING
    await serve(unix)
    async with asyncio.timeout(60):
        assert await kept.peer.connected() is kept.up[0]


async def test_one_that_gives_up_takes_the_attempt_from_nobody(
    serve: Serve, unix: str, kept: Kept
) -> None:
    await serve(unix)
    kept.peer.reach(unix)
    hasty, patient = (asyncio.ensure_future(kept.peer.connected()) for _ in range(2))
    await asyncio.sleep(0)
    hasty.cancel()
    assert await patient is kept.up[0]


async def test_closed_it_stays_closed(
    serve: Serve, unix: str, mute: str, kept: Kept, eventually: Wait
) -> None:
    with pytest.raises(ChannelClosed, match="no address is known"):
        await kept.peer.connected()
    server = await serve(unix)
    kept.peer.reach(unix)
    await eventually(lambda: kept.up)
    kept.up[0].notify("last", "words")
    kept.peer.close()
    kept.peer.close()
    await eventually(lambda: not server.connections)
    assert [message.kind for _, message in server.received] == ["last"]  # type: ignore[attr-defined]
    kept.peer.reach(mute)
    assert (kept.peer.state, kept.down) == (State.CLOSED, 1)
    with pytest.raises(ChannelClosed, match="nobody wants it"):
        await kept.peer.connected()


async def test_who_waits_hears_that_it_is_closed(mute: str, kept: Kept) -> None:
    before = asyncio.all_tasks()
    kept.peer.reach(mute)
    waiting = asyncio.ensure_future(kept.peer.connected())
    await asyncio.sleep(0.01)
    kept.peer.close()
    with pytest.raises(ChannelClosed, match="not wanted any more"):
        await waiting
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_each_cause_is_logged_once_until_the_peer_is_back(
    serve: Serve,
    unix: str,
    kept: Kept,
    eventually: Wait,
    pauses: list[float],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(module, "GRACE_S", 0.0)
    caplog.set_level("INFO", "vigil")
    kept.peer.reach(unix)
    await eventually(lambda: len(pauses) >= 5)
    (line,) = caplog.messages
    assert line.startswith(
        "the control plane cannot be reached and is tried again and again: cannot connect"
    )
    Path(unix.removeprefix("unix:")).touch()  # noqa: ASYNC240 - another cause: it is no socket
    await eventually(lambda: len(caplog.messages) == 2)
    server = await serve(unix)
    await eventually(lambda: kept.up)
    assert caplog.messages[2:] == ["the control plane can be reached again"]
    server.close()
    drop(server)
    await eventually(lambda: len(caplog.messages) == 4)
    assert caplog.messages[3] == line


async def test_one_that_is_back_soon_is_no_news(
    serve: Serve,
    unix: str,
    kept: Kept,
    eventually: Wait,
    pauses: list[float],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "vigil")
    kept.peer.reach(unix)
    await eventually(lambda: len(pauses) >= 3)
    await serve(unix)
    await eventually(lambda: kept.up)
    assert not caplog.messages
