"""What the control plane is made of, and how its parts hear of each other."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from serving.channel.messages.directory import Inventory, Member
from serving.channel.messages.reports import GatewayStatus, Report, UnreadyVersion
from serving.config import ServerConfig
from serving.control import composition, fall_back
from serving.control.composition import ControlPlane
from serving.control.runtime_settings import Chosen
from serving.control.served_model import inventory
from serving.errors import ModelNotFound
from serving.models.repository.folder import ModelRepository
from serving.protocol.repository import ControlMeta
from serving.telemetry.logs.switch import LogSettings

VERBOSE = ControlMeta("logging", settings={"log_verbose_level": 1})


class Switch:
    def __init__(self):
        self.applied = []

    def apply(self, settings):
        self.applied.append(settings)


@pytest.fixture
def found(put, folder):
    """What lies in the folder: version 1 of model m."""
    put("1")
    return lambda: inventory(ModelRepository(folder))


@pytest.fixture
async def make(registry, folder, engine, tmp_path):
    made = []

    def plane(*more, config=None, **named):
        base = {"models": folder, "data_dir": tmp_path / "data", "load_timeout_s": 60}
        settings = ServerConfig(**base, **(config or {}))
        named.setdefault("switch", Switch())
        made.append(ControlPlane(registry, settings, engine, *more, **named))
        return made[-1]

    yield plane
    for each in made:
        each.stop()
        await each.finish()


# -- orders ---------------------------------------------------------------------------------------


async def test_orders_of_gateways_are_carried_out(make, registry, found, join):
    make().start(found())
    gateway = join(Member("gateway", "g", 1))
    reply = await asking(gateway, ControlMeta("index"))
    assert [row["name"] for row in msgspec.msgpack.decode(reply.meta)] == ["m"]
    with pytest.raises(ModelNotFound):
        await asking(gateway, ControlMeta("unload", "other"))


async def asking(gateway, order):
    async with asyncio.timeout(60):
        while not gateway.client.connected:  # noqa: ASYNC110 - its own task sets it
            await asyncio.sleep(0.005)
    return await gateway.client.request("control", order)


async def test_settings_reach_gateways_this_process_and_whoever_wants_to_know(
    make, registry, tmp_path
):
    heard, switch = [], Switch()
    plane = make(lambda: heard.append(registry.directory.settings.log), switch=switch)
    plane.start(Inventory())
    assert heard == switch.applied == []
    answer = await plane.commands.answer(VERBOSE)
    assert answer["log_verbose_level"] == 1
    assert heard == switch.applied == [LogSettings(log_verbose_level=1)]
    assert plane.chosen.log == {"log_verbose_level": 1}
    trace = await plane.commands.answer(ControlMeta("trace"))
    assert trace["trace_file"] == f"{tmp_path}/data/traces/<gateway>.jsonl"


async def test_an_order_is_answered_once_it_would_outlive_this_room(make):
    kept = asyncio.Event()
    plane = make(kept=kept.wait)
    plane.start(Inventory())
    answer = asyncio.create_task(plane.commands.answer(VERBOSE))
    await asyncio.sleep(0.01)
    assert not answer.done()
    kept.set()
    assert (await answer)["log_verbose_level"] == 1


async def test_without_a_successor_an_order_is_answered_at_once(make):
    plane = make()
    plane.start(Inventory())
    assert await plane.commands.answer(VERBOSE)


# -- what is served -------------------------------------------------------------------------------


async def test_models_of_the_start_are_told_and_ordered(make, registry, found, engine):
    plane = make()
    assert registry.directory.models == ()
    plane.start(found())
    assert [served.key[:2] for served in registry.directory.models] == [("m", "1")]
    assert engine.orders[-1] == ({"1"}, set())


@pytest.mark.parametrize("number", [0, 5])
async def test_what_the_room_before_had_set_is_taken_over(make, registry, number):
    switch = Switch()
    plane = make(switch=switch)
    plane.start(Inventory(), Chosen(number, log={"log_info": False}))
    if number:
        assert switch.applied == [LogSettings(log_info=False)]
        assert plane.chosen.log == {"log_info": False}
        assert registry.directory.settings.log == LogSettings(log_info=False)
    else:  # nothing had been
        assert (switch.applied, plane.chosen.number) == ([], 0)


async def test_a_start_is_over_once_every_required_model_is_settled(
    make, registry, found, eventually, join
):
    plane = make()
    assert not plane.started
    models = found()
    plane.start(models)
    assert not plane.started
    registry.note_failure(models.models[0].key, "odd")
    gateway = join(Member("gateway", "g", 1))
    await eventually(lambda: gateway.directories)
    gateway.report = Report(True, (), GatewayStatus(gateway.directories[-1].generation))
    await eventually(lambda: plane.started)


@pytest.mark.parametrize("versions", ["latest", "[2]"])
async def test_where_the_newest_fails_an_earlier_one_serves(
    make, registry, put, found, gateway, eventually, monkeypatch, versions
):
    gateway.unready = [UnreadyVersion("m", "2", "no replica yet")]
    monkeypatch.setattr(fall_back, "CERTAIN_S", 0.01)
    put("2", versions=versions)
    plane = make()
    models = found()
    plane.start(models)
    (newest,) = models.models
    assert newest.version == "2"
    # Named versions are settled from the beginning: no other stands in for them.
    assert plane.settled(newest.key) is (versions != "latest")
    registry.note_failure(newest.key, "odd")
    await eventually(lambda: plane.settled(newest.key))
    wanted = "1" if versions == "latest" else "2"
    await eventually(lambda: [m.version for m in registry.directory.models] == [wanted])


async def test_any_other_version_is_settled(make, found):
    plane = make()
    plane.start(found())
    assert plane.settled(("m", "7", "x"))


async def test_nothing_changes_after_the_end(make, registry, found, put, gateway, monkeypatch):
    gateway.unready = [UnreadyVersion("m", "2", "no replica yet")]
    monkeypatch.setattr(fall_back, "CERTAIN_S", 0.01)
    put("2")
    plane = make()
    models = found()
    plane.start(models)
    plane.stop()
    registry.note_failure(models.models[0].key, "odd")
    await asyncio.sleep(0.05)
    assert [m.version for m in registry.directory.models] == ["2"]


# -- the poll -------------------------------------------------------------------------------------


class Poll:
    """Says how it was made and whether it looks."""

    made = None

    def __init__(self, _control, repository, every_s):
        Poll.made = self
        self.root, self.every_s = repository.root, every_s
        self.looks = self.ended = False

    async def run(self):
        self.looks = True
        try:
            await asyncio.Event().wait()
        finally:
            self.ended = True


@pytest.fixture
def poll(monkeypatch):
    monkeypatch.setattr(Poll, "made", None)
    monkeypatch.setattr(composition, "ModelPoll", Poll)


async def test_the_folder_is_looked_at_where_that_is_wanted(poll, make, folder, eventually):
    plane = make(config={"poll_models_s": 7.0})
    assert (Poll.made.root, Poll.made.every_s) == (folder, 7.0)
    assert not Poll.made.looks
    plane.start(Inventory())
    await eventually(lambda: Poll.made.looks)
    plane.stop()
    await eventually(lambda: Poll.made.ended)


async def test_the_folder_is_left_alone_otherwise(poll, make):
    make().start(Inventory())
    assert Poll.made is None
