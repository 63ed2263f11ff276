"""Orders reach the monitor that is there; what it refuses, and that there is none, is told."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from serving.channel.endpoint import ChannelServer
from serving.channel.messages.causes import CAUSE, Cause, CauseMeta
from serving.channel.messages.directory import Directory, Member
from serving.channel.messages.observation import RESET_REFERENCE
from serving.channel.monitor_shares import monitor_of
from serving.control import monitor_orders
from serving.control.monitor_orders import cause, reset_reference
from serving.errors import ModelNotFound, ModelNotReady


def registry_of(*members, secret=None, monitors=1):
    states = [SimpleNamespace(member=member) for member in members]
    directory = Directory(monitors=monitors)
    return SimpleNamespace(states=lambda: states, secret=secret, directory=directory)


def monitor(address, ident="monitor"):
    return Member("monitor", ident, 1, address)


@pytest.fixture
async def answering(eventually):
    """Listens as a monitor; `answer` gets connection and message. All connections must end."""
    servers = []

    async def start(answer, address, secret=None):
        servers.append(ChannelServer(answer, slots=1, secret=secret))
        return await servers[-1].start(address)

    yield start
    for server in servers:
        await eventually(lambda server=server: not server.connections)
        server.close()


@pytest.fixture
def address(tmp_path):
    return f"unix:{tmp_path}/monitor.sock"


async def test_the_monitor_is_asked_and_its_words_returned(answering, address):
    asked = []

    def answer(connection, message):
        asked.append((message.kind, bytes(message.meta)))
        connection.reply(message.id, "0 of 300")

    await answering(answer, address)
    replica = Member("replica", "r", 1, "unix:/nowhere")
    assert await reset_reference(registry_of(replica, monitor(address)), "m é") == "0 of 300"
    ((kind, meta),) = asked
    assert kind == RESET_REFERENCE
    assert "m é".encode() in meta


async def test_of_several_the_one_is_asked_that_has_the_model(answering, address):
    mine = monitor_of("m", 2)
    other = {"monitor-0": "monitor-1", "monitor-1": "monitor-0"}[mine]
    await answering(lambda connection, message: connection.reply(message.id, "fine"), address)
    elsewhere = monitor("unix:/nowhere", other)
    both = registry_of(elsewhere, monitor(address, mine), monitors=2)
    assert await reset_reference(both, "m") == "fine"
    with pytest.raises(ModelNotReady, match=f"^{mine} is not there; retry later$"):
        await reset_reference(registry_of(monitor(address, other), monitors=2), "m")


async def test_a_cluster_needs_its_secret(answering):
    def answer(connection, message):
        connection.reply(message.id, "fine")

    address = await answering(answer, "tcp:127.0.0.1:0", b"secret")
    there = registry_of(monitor(address), secret=b"secret")
    assert await reset_reference(there, "m") == "fine"
    for secret in (None, b"other"):
        with pytest.raises(ModelNotReady):
            await reset_reference(registry_of(monitor(address), secret=secret), "m")


async def test_what_the_monitor_refuses_is_told_as_it_says(answering, address):
    def answer(connection, message):
        connection.fail(message.id, ModelNotFound("model 'm' is not watched"))

    await answering(answer, address)
    with pytest.raises(ModelNotFound, match="model 'm' is not watched"):
        await reset_reference(registry_of(monitor(address)), "m")


def gone(error):
    assert error.message == "the monitor is not there; retry later"
    assert error.retry_after_s == 1


@pytest.mark.parametrize("members", [[], [Member("replica", "r", 1, "unix:/r")]])
async def test_without_a_monitor_nothing_is_reset(members):
    with pytest.raises(ModelNotReady) as told:
        await reset_reference(registry_of(*members), "m")
    gone(told.value)


async def test_a_monitor_that_has_gone(address):
    with pytest.raises(ModelNotReady) as told:
        await reset_reference(registry_of(monitor(address)), "m")
    gone(told.value)


async def test_a_monitor_that_goes_meanwhile(answering, address):
    await answering(lambda connection, _message: connection.abort(), address)
    with pytest.raises(ModelNotReady) as told:
        await reset_reference(registry_of(monitor(address)), "m")
    gone(told.value)


async def test_a_monitor_that_does_not_answer(answering, address, monkeypatch):
    monkeypatch.setattr(monitor_orders, "TIMEOUT_S", 0.05)
    await answering(lambda *_: None, address)
    with pytest.raises(ModelNotReady) as told:
        await reset_reference(registry_of(monitor(address)), "m")
    gone(told.value)


async def test_whoever_gives_up_leaves_no_connection(answering, address, eventually):
    asked = []
    await answering(lambda _connection, message: asked.append(message), address)
    order = asyncio.create_task(reset_reference(registry_of(monitor(address)), "m"))
    await eventually(lambda: asked)
    order.cancel()
    with pytest.raises(asyncio.CancelledError):
        await order


async def test_a_cause_is_asked_for_and_may_take_longer_than_other_orders(
    answering, address, monkeypatch
):
    monkeypatch.setattr(monitor_orders, "TIMEOUT_S", 0.05)
    told = Cause(summary="concept shift", known=True, features={"age": 0.8}, rows=(300, 200))

    def answer(connection, message):
        assert message.kind == CAUSE
        asyncio.get_running_loop().call_later(0.2, connection.reply, message.id, told)

    await answering(answer, address)
    asked = CauseMeta("m", "accuracy", "", 7.0)
    assert await cause(registry_of(monitor(address)), asked) == told
