"""The role's end of the control plane: registers, reports, and finds its way back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest

from serving.channel import peer
from serving.channel.connection import Connection
from serving.channel.endpoint import ChannelServer
from serving.channel.frame_parts import Message
from serving.channel.messages.control import DeadlyMeta, EndedMeta
from serving.channel.messages.directory import Directory, Member
from serving.channel.messages.reports import GatewayStatus, Report
from serving.channel.peer import State
from serving.channel.registry_client import RegistryClient
from serving.errors import Forbidden, ModelNotReady

Serve = Callable[..., Awaitable[ChannelServer]]
Wait = Callable[[Callable[[], object]], Awaitable[None]]
ME = Member("gateway", "g", 1)
WELL = Report(True, (), GatewayStatus())


class FakeRegistry:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.members: list[Member] = []
        self.connections: list[Connection] = []
        self.refuses = False

    def __call__(self, connection: Connection, message: Message) -> None:
        self.said.append(message.kind)
        if message.kind == "register":
            self.members.append(msgspec.msgpack.decode(message.meta, type=Member))
            self.connections.append(connection)
            if self.refuses:
                connection.abort()


@pytest.fixture
def registry() -> FakeRegistry:
    return FakeRegistry()


@pytest.fixture
async def client(unix: str) -> AsyncIterator[Callable[..., RegistryClient]]:
    clients: list[RegistryClient] = []

    def start(report: Any = lambda: WELL, **options: Any) -> RegistryClient:
        options.setdefault("interval_s", 0.01)
        clients.append(RegistryClient(unix, None, ME, report, **options))
        clients[-1].start()
        return clients[-1]

    yield start
    for item in clients:
        async with asyncio.timeout(60):
            await item.stop()
    await asyncio.sleep(0.01)


async def test_registers_first_and_reports_regularly(
    serve: Serve, unix: str, registry: FakeRegistry, client: Any, eventually: Wait
) -> None:
    await serve(unix, registry)
    client()
    await eventually(lambda: registry.said.count("report") >= 3)
    assert registry.said[0] == "register"
    assert registry.said.count("register") == 1
    assert registry.members == [ME]


async def test_waits_for_a_hub_that_is_not_there_yet(
    serve: Serve, unix: str, registry: FakeRegistry, client: Any, eventually: Wait
) -> None:
    client()
    await asyncio.sleep(0.05)
    await serve(unix, registry)
    await eventually(lambda: registry.members == [ME])


async def test_registers_again_after_a_loss(
    serve: Serve, unix: str, registry: FakeRegistry, client: Any, eventually: Wait
) -> None:
    server = await serve(unix, registry)
    client()
    await eventually(lambda: registry.members)
    server.close()
    for connection in list(server.connections):
        connection.abort()
    await serve(unix, registry)
    await eventually(lambda: registry.members == [ME, ME])


async def test_a_hub_that_always_closes_is_not_asked_in_a_tight_loop(
    serve: Serve,
    unix: str,
    registry: FakeRegistry,
    client: Any,
    eventually: Wait,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry.refuses = True
    await serve(unix, registry)
    with monkeypatch.context() as patch:
        patch.setattr(peer, "FIRST_PAUSE_S", 0.01)
        first = client()
        await eventually(lambda: len(registry.members) >= 2)
        await first.stop()
    monkeypatch.setattr(peer, "FIRST_PAUSE_S", 3600.0)
    before = len(registry.members)
    client()
    await eventually(lambda: len(registry.members) > before)
    await asyncio.sleep(0.1)
    assert len(registry.members) == before + 1


async def test_a_failing_report_ends_nothing(
    serve: Serve, unix: str, registry: FakeRegistry, client: Any, eventually: Wait, caplog: Any
) -> None:
    calls: list[int] = []

    def report() -> Report:
        calls.append(1)
        if len(calls) < 3:
            raise RuntimeError("not now")
        return WELL

    await serve(unix, registry)
    client(report)
    await eventually(lambda: "report" in registry.said)
    assert "g could not report to the control plane" in caplog.text


async def test_directories_arrive_and_a_failing_listener_keeps_the_lease(
    serve: Serve, unix: str, registry: FakeRegistry, client: Any, eventually: Wait, caplog: Any
) -> None:
    seen: list[int] = []

    def listen(directory: Directory) -> None:
        seen.append(directory.generation)
        if directory.generation == 1:
            raise RuntimeError("cannot follow")

    await serve(unix, registry)
    client(on_directory=listen)
    await eventually(lambda: registry.connections)
    for generation in (1, 2):
        registry.connections[0].notify("directory", Directory(generation, (), (ME,)))
    await eventually(lambda: seen == [1, 2])
    assert len(registry.members) == 1
    assert "cannot follow the directory" in caplog.text


MESSAGES: dict[str, Any] = {
    "drain": None,
    "ended": EndedMeta("r", "ended with exit code 3", True),
    "deadly": DeadlyMeta("m", "1", "rev", b"digest", 7, "ended"),
    "directory": Directory(1),
}


@pytest.mark.parametrize("listens", [True, False])
async def test_each_message_has_its_listener(
    serve: Serve, unix: str, registry: FakeRegistry, client: Any, eventually: Wait, listens: bool
) -> None:
    told: list[tuple[str, Any]] = []
    await serve(unix, registry)
    if listens:
        heard = {
            f"on_{kind}": lambda *given, kind=kind: told.append((kind, given[0] if given else None))
            for kind in MESSAGES
        }
        one = client(**heard)
    else:
        one = client()
    await eventually(lambda: registry.connections)
    for kind, meta in {**MESSAGES, "unheard of": None}.items():
        registry.connections[0].notify(kind, meta)
    before = registry.said.count("report")
    await eventually(lambda: registry.said.count("report") > before + 2)
    await eventually(lambda: len(told) == len(MESSAGES) * listens)
    assert dict(told) == (MESSAGES if listens else {})
    assert one.connected
    assert len(registry.members) == 1


async def test_a_request_is_answered_refused_or_lost(
    serve: Serve, unix: str, registry: FakeRegistry, client: Any, eventually: Wait
) -> None:
    def answer(connection: Connection, message: Message) -> None:
        registry(connection, message)
        if message.kind == "ask":
            connection.reply(message.id, {"done": True})
        elif message.kind == "forbid":
            connection.fail(message.id, Forbidden("no"))
        elif message.kind == "die":
            connection.abort()

    one = client()
    with pytest.raises(ModelNotReady, match="cannot be reached; retry later"):
        await one.request("ask", None)
    await serve(unix, answer)
    await eventually(lambda: one.connected)
    reply = await one.request("ask", None)
    assert msgspec.msgpack.decode(reply.meta) == {"done": True}
    with pytest.raises(Forbidden, match="no"):
        await one.request("forbid", None)
    with pytest.raises(ModelNotReady, match="went away, and may have done it or not"):
        await one.request("die", None)


async def test_a_directory_of_another_release_keeps_the_lease(
    serve: Serve, unix: str, registry: FakeRegistry, client: Any, eventually: Wait, caplog: Any
) -> None:
    seen: list[int] = []
    await serve(unix, registry)
    client(on_directory=lambda directory: seen.append(directory.generation))
    await eventually(lambda: registry.connections)
    registry.connections[0].notify("directory", {"generation": "seven"})
    registry.connections[0].notify("directory", Directory(8))
    await eventually(lambda: seen == [8])
    assert len(registry.members) == 1
    assert "cannot follow the directory" in caplog.text


async def test_what_the_hub_knows_nothing_of_is_told_after_every_connect(
    serve: Serve, unix: str, registry: FakeRegistry, client: Any, eventually: Wait
) -> None:
    server = await serve(unix, registry)
    one = client(interval_s=3600, on_up=lambda: one.notify("news", None))
    await eventually(lambda: registry.said == ["register", "news", "report"])
    for connection in list(server.connections):
        connection.abort()
    await eventually(lambda: registry.said == 2 * ["register", "news", "report"])


async def test_however_often_the_hub_was_lost_reports_are_sent_at_one_pace(
    serve: Serve,
    unix: str,
    registry: FakeRegistry,
    client: Any,
    eventually: Wait,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = await serve(unix, registry)
    loop = asyncio.get_running_loop()
    timers: list[asyncio.TimerHandle] = []
    later = loop.call_later

    def note(delay: float, callback: Any, *args: Any) -> asyncio.TimerHandle:
        timer = later(delay, callback, *args)
        if callback == one._report_regularly:
            timers.append(timer)
        return timer

    monkeypatch.setattr(loop, "call_later", note)
    one = client(interval_s=3600)
    for times in (1, 2, 3):
        await eventually(lambda times=times: len(timers) == times)
        for connection in list(server.connections):
            connection.abort()
    await eventually(lambda: len(timers) == 4)
    assert [timer.cancelled() for timer in timers] == [True, True, True, False]
    await one.stop()
    assert timers[3].cancelled()


async def test_stop_sends_a_last_report(
    serve: Serve, unix: str, registry: FakeRegistry, client: Any, eventually: Wait
) -> None:
    server = await serve(unix, registry)
    one = client(interval_s=3600)
    await eventually(lambda: registry.said == ["register", "report"])
    await one.stop()
    await eventually(lambda: registry.said == ["register", "report", "report"])
    await eventually(lambda: not server.connections)


async def test_stop_ends_although_the_hub_goes_at_that_moment(
    serve: Serve, unix: str, registry: FakeRegistry, client: Any, eventually: Wait
) -> None:
    server = await serve(unix, registry)
    one = client(interval_s=3600)
    await eventually(lambda: registry.members)
    for connection in list(server.connections):
        connection.abort()
    while one.connected:  # noqa: ASYNC110 - to the very turn of the loss
        await asyncio.sleep(0)
    await one.stop()
    assert one._peer.state is State.CLOSED


def test_members_by_role() -> None:
    replica = Member("replica", "r", 2)
    assert Directory(1, (), (ME, replica)).of_role("replica") == [replica]
