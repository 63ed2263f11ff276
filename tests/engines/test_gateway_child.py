"""One gateway: what is started for it, how it is asked, and how it is drained."""

from __future__ import annotations

import asyncio
import signal
from contextlib import asynccontextmanager

import pytest

from serving.config import Listen, ServerConfig
from serving.config.traces import Traces
from serving.engines import children, gateway_child
from serving.engines.gateway_child import GatewayChild
from serving.gateway.process import GatewayProcess

ENV = {"PATH": "/bin", "RAY_JOB": "1", "RAYMOND": "2", "VIGIL_X": "3"}


class Process:
    """A child that ends when a test, or a signal that it obeys, says so."""

    def __init__(self, pid, argv, env):
        self.pid, self.argv, self.env = pid, argv, env
        self.signals = []
        self.obeys = {signal.SIGTERM: 0, signal.SIGKILL: -9}
        self.ended = asyncio.get_running_loop().create_future()

    async def wait(self):
        return await asyncio.shield(self.ended)

    def signal(self, number):
        self.signals.append(number)
        if number in self.obeys and not self.ended.done():
            self.ended.set_result(self.obeys[number])


class World:
    """Holds what was described, what was started and how Envoy is drained."""

    def __init__(self, folder):
        self.socket = folder / "private"
        self.described = []
        self.started = []
        self.drained = True
        self.calls = []

    def describing(self, ingress):
        def describe(*arguments, **more):
            self.described.append((ingress, arguments, more))
            return GatewayProcess([ingress], ENV, self.socket)

        return describe

    async def spawn(self, argv, env):
        self.started.append(Process(len(self.started), argv, env))
        return self.started[-1]

    async def drain(self, socket, grace_s):
        self.calls.append((socket, grace_s))
        assert not self.started[-1].signals  # it is ended only after that
        return self.drained

    def kill(self, pid, number):
        self.started[pid].signal(number)


@pytest.fixture
def world(monkeypatch, tmp_path):
    made = World(tmp_path)
    monkeypatch.setattr(gateway_child, "direct_process", made.describing("direct"))
    monkeypatch.setattr(gateway_child, "envoy_process", made.describing("envoy"))
    monkeypatch.setattr(gateway_child, "spawn", made.spawn)
    monkeypatch.setattr(gateway_child, "drain_envoy", made.drain)
    monkeypatch.setattr(gateway_child, "LAST_WORDS_S", 0.01)
    monkeypatch.setattr(children.os, "kill", made.kill)
    monkeypatch.setattr(children, "FIRST_PAUSE_S", 0.001)
    return made


def child_of(tmp_path, ingress="direct", grace_s=30.0, **more):
    # A grace time below zero, which no configuration may ask for, keeps tests short.
    config = ServerConfig(ingress=ingress).model_copy(update={"drain_timeout_s": grace_s})
    return GatewayChild(config, Listen(), tmp_path, "g-0", "unix:/r", **more)


async def running(world, tmp_path, eventually, ingress="direct", **more):
    child = child_of(tmp_path, ingress, **more)
    child.start()
    await eventually(lambda: world.started)
    return child, world.started[0]


# -- what is started ------------------------------------------------------------------------------


@pytest.mark.parametrize("ingress", ["direct", "envoy"])
def test_the_ingress_of_the_configuration_is_described(world, tmp_path, ingress):
    child_of(tmp_path, ingress, grace_s=7.0, secret=b"s")
    more = {"secret": b"s", "drain_timeout_s": 7.0, "traces": Traces()}
    assert world.described == [(ingress, (Listen(), tmp_path, "g-0", "unix:/r"), more)]
    assert not world.started


@pytest.mark.parametrize(
    ("hidden", "seen"),
    [
        ((), {"PATH", "RAY_JOB", "RAYMOND", "VIGIL_X"}),
        (("RAY_",), {"PATH", "RAYMOND", "VIGIL_X"}),
        (("RAY", "VIGIL_"), {"PATH"}),
        (("AY",), {"PATH", "RAY_JOB", "RAYMOND", "VIGIL_X"}),
    ],
)
async def test_it_sees_no_variable_that_is_hidden(world, tmp_path, eventually, hidden, seen):
    child, process = await running(world, tmp_path, eventually, hidden=hidden)
    assert process.argv == ["direct"]
    assert process.env == {name: ENV[name] for name in seen}
    await child.stop()


async def test_it_is_started_again_until_it_is_stopped(world, tmp_path, eventually, caplog):
    child, process = await running(world, tmp_path, eventually)
    process.ended.set_result(3)
    await eventually(lambda: len(world.started) == 2)
    assert caplog.messages == ["g-0 ended with exit code 3; it is started again"]
    assert await child.stop()
    assert len(world.started) == 2
    assert len(caplog.messages) == 1  # an end that was ordered is none to tell


# -- whether it lives -----------------------------------------------------------------------------


@asynccontextmanager
async def listening(path, answer):
    asked = []

    async def serve(reader, writer):
        asked.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0])
        writer.write(answer)
        writer.close()

    server = await asyncio.start_unix_server(serve, path)
    try:
        yield asked
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    ("ingress", "path"), [("direct", b"/v2/health/live"), ("envoy", b"/ready")]
)
async def test_its_own_socket_is_asked(world, tmp_path, ingress, path):
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
    async with listening(world.socket, answer) as asked:
        assert await child_of(tmp_path, ingress).alive()
    assert asked == [b"GET " + path + b" HTTP/1.1"]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 204 None\r\n\r\n",
        b"HTTP/1.1 302 Elsewhere\r\nlocation: /ready\r\ncontent-length: 0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n",
        b"",
    ],
)
async def test_another_answer_is_no_life(world, tmp_path, answer):
    async with listening(world.socket, answer):
        assert not await child_of(tmp_path).alive()


async def test_nobody_there_is_no_life(world, tmp_path):
    assert not await child_of(tmp_path).alive()
    world.socket.write_text("")
    assert not await child_of(tmp_path).alive()


# -- how it ends ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "drained"), [(0, True), (1, False), (-15, False)])
async def test_the_direct_ingress_tells_by_its_exit_code(
    world, tmp_path, eventually, code, drained
):
    child, process = await running(world, tmp_path, eventually)
    process.obeys[signal.SIGTERM] = code
    assert await child.stop() is drained
    assert process.signals[0] == signal.SIGTERM
    assert signal.SIGKILL not in process.signals
    assert world.calls == []


async def test_the_direct_ingress_gets_a_second_beyond_its_grace_time(
    world, tmp_path, eventually, monkeypatch
):
    child, _ = await running(world, tmp_path, eventually, grace_s=7.0)
    waited, wait_for = [], asyncio.wait_for

    def measured(awaited, timeout):
        waited.append(timeout)
        return wait_for(awaited, timeout)

    monkeypatch.setattr(asyncio, "wait_for", measured)
    assert await child.stop()
    assert waited == [8.0]


async def test_what_does_not_end_in_time_is_killed(world, tmp_path, eventually):
    child, process = await running(world, tmp_path, eventually, grace_s=-0.99)
    del process.obeys[signal.SIGTERM]
    assert await child.stop() is False
    assert process.signals == [signal.SIGTERM, signal.SIGTERM, signal.SIGKILL]
    assert process.ended.result() == -9


@pytest.mark.parametrize("drained", [True, False])
async def test_envoy_is_drained_before_it_is_ended(world, tmp_path, eventually, drained):
    child, process = await running(world, tmp_path, eventually, "envoy", grace_s=7.0)
    world.drained = drained
    assert await child.stop() is drained
    assert world.calls == [(world.socket, 7.0)]
    assert process.signals == [signal.SIGTERM]


@pytest.mark.parametrize("ingress", ["direct", "envoy"])
async def test_there_is_nothing_to_drain_where_none_runs(world, tmp_path, ingress):
    assert await child_of(tmp_path, ingress).stop()
    assert (world.started, world.calls) == ([], [])


async def test_nothing_is_started_while_it_drains(world, tmp_path, eventually, caplog, monkeypatch):
    child, process = await running(world, tmp_path, eventually, "envoy")

    async def dies(_socket, _grace_s):
        process.ended.set_result(1)
        for _ in range(20):
            await asyncio.sleep(0.001)
        return False

    monkeypatch.setattr(gateway_child, "drain_envoy", dies)
    assert await child.stop() is False
    assert len(world.started) == 1
    assert caplog.messages == []
