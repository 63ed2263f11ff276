"""An order to forget reaches every monitor, and is done when all are."""

from __future__ import annotations

from types import SimpleNamespace

import msgspec
import pytest

from serving.channel.endpoint import ChannelServer
from serving.channel.messages.directory import Directory, Member
from serving.channel.messages.observation import FORGET, ForgetMeta, ForgetReply
from serving.control.forget_order import forget
from serving.errors import InvalidInput, ModelNotReady, NotFound, Overloaded, VigilError

ASKED = ForgetMeta("1", "x", "in_age")


class Monitors:
    """Two monitors that answer what a test says."""

    def __init__(self, tmp_path):
        self.folder = tmp_path
        self.answers = {}
        self.asked = []
        self.servers = []
        members = [
            SimpleNamespace(member=Member("monitor", ident, 1, self.address(ident)))
            for ident in ("monitor-0", "monitor-1")
        ]
        self.registry = SimpleNamespace(
            states=lambda: members, secret=None, directory=Directory(monitors=2)
        )

    def address(self, ident):
        return f"unix:{self.folder}/{ident}.sock"

    async def start(self):
        for ident in ("monitor-0", "monitor-1"):
            self.servers.append(ChannelServer(self.answering(ident), slots=1))
            await self.servers[-1].start(self.address(ident))

    def answering(self, ident):
        def answer(connection, message):
            assert message.kind == FORGET
            self.asked.append((ident, msgspec.msgpack.decode(message.meta, type=ForgetMeta)))
            said = self.answers[ident]
            if isinstance(said, VigilError):
                connection.fail(message.id, said)
            else:
                connection.reply(message.id, said)

        return answer

    async def say(self, first, second, asked=ASKED):
        self.answers = {"monitor-0": first, "monitor-1": second}
        return await forget(self.registry, asked)


@pytest.fixture
async def monitors(tmp_path, eventually):
    made = Monitors(tmp_path)
    await made.start()
    yield made
    for server in made.servers:
        await eventually(lambda server=server: not server.connections)
        server.close()


DONE = ForgetReply(
    True, rows={"predictions": 2}, rewritten=["a"], deleted=["b"], entries=1, searched=5
)
RUNNING = ForgetReply(False, "rewriting files", 1, 3)


async def test_what_all_have_done_is_added_up(monitors):
    other = ForgetReply(True, rows={"predictions": 1, "sensitive": 4}, entries=2, searched=7)
    assert await monitors.say(DONE, other) == ForgetReply(
        True, rows={"predictions": 3, "sensitive": 4}, rewritten=["a"], deleted=["b"],
        entries=3, searched=12,
    )  # fmt: skip
    assert monitors.asked == [("monitor-0", ASKED), ("monitor-1", ASKED)]


async def test_it_is_finished_when_all_are(monitors):
    for other in (DONE, ForgetReply(False, "searching again", 2, 9)):
        assert await monitors.say(RUNNING, other) == RUNNING
    both = await monitors.say(RUNNING, ForgetReply(False, "rewriting files", 4, 6))
    assert both == ForgetReply(False, "rewriting files", 5, 9)


async def test_of_one_model_others_than_its_monitor_are_asked_too(monitors):
    asked = ForgetMeta("1", "x", model="m")
    nothing = ForgetReply(True, logged=False, entries=1)  # of when it was that one's model
    both = await monitors.say(DONE, nothing, asked)
    assert both == msgspec.structs.replace(DONE, entries=2)
    assert monitors.asked == [("monitor-0", asked), ("monitor-1", asked)]
    with pytest.raises(NotFound, match="the log has no predictions of model 'm'"):
        await monitors.say(nothing, nothing, asked)


async def test_a_column_may_be_known_to_some_alone(monitors):
    without = ForgetReply(True, known=False)
    empty = ForgetReply(True, logged=False)
    assert (await monitors.say(without, DONE)).rows == DONE.rows
    assert (await monitors.say(empty, empty)).rows == {}
    for other in (without, empty):
        with pytest.raises(InvalidInput, match="no file of the log has a column 'in_age'"):
            await monitors.say(without, other)


async def test_what_one_refuses_is_told_with_its_name_and_the_others_begin(monitors):
    with pytest.raises(Overloaded, match=r"^monitor-0: another order") as told:
        await monitors.say(Overloaded("another order", retry_after_s=5), RUNNING)
    assert told.value.retry_after_s == 5
    assert len(monitors.asked) == 2
    monitors.servers[1].close()
    with pytest.raises(ModelNotReady, match=r"^monitor-1 is not there; retry later$"):
        await monitors.say(DONE, DONE)
