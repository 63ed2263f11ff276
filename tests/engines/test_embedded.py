"""One instance in this process, with roles that are no processes but written down."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from serving.access.principals import ANYBODY
from serving.access.scopes import Scope
from serving.channel.endpoint import connect
from serving.channel.messages.control import EXPLAINER, EndedMeta, ExplainerMeta
from serving.channel.messages.directory import Member
from serving.channel.messages.reports import ReplicaStatus, Report
from serving.config import ConfigError, ServerConfig
from serving.control import fall_back
from serving.engines import embedded
from serving.engines.embedded import EmbeddedInstance
from serving.errors import VigilError

YAML = """
format: torch_export
required: {required}
versions: {versions}
inputs: [{{name: x, datatype: FP32, shape: [-1, 2]}}]
outputs: [{{name: y, datatype: FP32, shape: [-1, 2]}}]
"""


class Roles:
    """What an instance orders of its children."""

    made = None

    def __init__(self, registry_address, runtime, data_dir, log, on_failed, on_ended):
        Roles.made = self
        self.log = log
        self.address, self.runtime, self.data_dir = registry_address, runtime, data_dir
        self.on_failed, self.on_ended, self.on_explainer_ended = on_failed, on_ended, None
        self.orders = []
        self.models = ()
        self.busy = []
        self.fails = None

    @property
    def socket(self):
        return Path(self.address.removeprefix("unix:"))

    async def start(self):
        self.orders.append(("start", self.socket.exists()))

    async def stop(self):
        self.orders.append(("stop", self.socket.exists()))
        if self.fails:
            raise self.fails

    def serve(self, models, candidates=()):
        self.models = models
        self.orders.append(("serve", self.socket.exists(), [served.name for served in models]))

    def explain(self, models):
        self.orders.append(("explain", [served.name for served in models]))

    def joined(self, ident):
        self.orders.append(("joined", ident))

    def start_monitors(self, idents):
        self.orders.append(("monitor", *idents))

    def kill_hung(self, busy):
        self.busy.append(sorted(busy))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(embedded, "LocalRoles", Roles)
    monkeypatch.setattr(embedded, "WATCH_S", 0.01)
    monkeypatch.setattr(embedded, "LAST_WORDS_S", 0.01)


@pytest.fixture
def models(tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


@pytest.fixture
def put(models):
    def model(name, required=True, versions="[1]"):
        (models / name / "1").mkdir(parents=True)
        (models / name / "1" / "model.pt2").write_text("weights")
        text = YAML.format(required=str(required).lower(), versions=versions)
        (models / name / "model.yaml").write_text(text)

    return model


@pytest.fixture
async def make(tmp_path, models):
    made = []

    def instance(*, clients_control=False, **more):
        config = ServerConfig(models=models, data_dir=tmp_path / "data", **more)
        made.append(EmbeddedInstance(config, clients_control=clients_control))
        return made[-1]

    yield instance
    for each in made:
        await each.stop()


@pytest.fixture
async def started(make, put):
    put("m")
    instance = make()
    await instance.start()
    return instance


@pytest.fixture
def address(started):
    """Where `join` joins."""
    return Roles.made.address


def key_of(name):
    return next(served.key for served in Roles.made.models if served.name == name)


def orders(kind):
    return [order for order in Roles.made.orders if order[0] == kind]


# -- folders --------------------------------------------------------------------------------------


async def test_each_has_folders_of_its_own_and_leaves_them(tmp_path, models):
    config = ServerConfig(models=models, data_dir=tmp_path / "data")
    first = EmbeddedInstance(config, clients_control=False)
    one = Roles.made
    second = EmbeddedInstance(config, clients_control=False)
    two = Roles.made
    assert (one.data_dir.name, two.data_dir.name) == ("worker-0", "worker-1")
    assert one.runtime != two.runtime
    assert one.runtime.is_dir()
    assert one.socket == one.runtime / "registry.sock"
    await first.stop()
    assert not one.runtime.exists()
    third = EmbeddedInstance(config, clients_control=False)
    assert Roles.made.data_dir.name == "worker-0"
    await third.stop()
    await second.stop()


def test_a_data_dir_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"data_dir: .* cannot be written to"):
        EmbeddedInstance(ServerConfig(data_dir=tmp_path / "file"), clients_control=False)


async def test_its_folders_go_even_where_a_role_does_not(tmp_path, models):
    config = ServerConfig(models=models, data_dir=tmp_path / "data")
    instance = EmbeddedInstance(config, clients_control=False)
    roles = Roles.made
    roles.fails = RuntimeError("will not go")
    with pytest.raises(RuntimeError, match="will not go"):
        await instance.stop()
    assert not roles.runtime.exists()
    again = EmbeddedInstance(config, clients_control=False)
    assert Roles.made.data_dir == roles.data_dir
    await again.stop()


# -- its start ------------------------------------------------------------------------------------


async def test_whoever_joins_learns_at_once_what_is_served(make, put):
    put("m")
    instance = make()
    assert instance.app.plane is None
    await instance.start()
    roles = Roles.made
    # First what takes longest, then what is served, and only then the door.
    assert roles.orders[:2] == [("start", False), ("serve", False, ["m"])]
    assert roles.socket.exists()
    assert instance.app.plane.status().generation


async def test_a_folder_that_is_missing_starts_nothing(make, models):
    models.rmdir()
    instance = make()
    with pytest.raises(ConfigError, match="no such folder"):
        await instance.start()
    assert Roles.made.orders == []
    assert instance.app.plane is None


async def test_it_opens_no_port(make, monkeypatch):
    async def port(*_, **__):
        raise AssertionError("opens a port")

    monkeypatch.setattr(asyncio.get_running_loop(), "create_server", port)
    await make().start()


# -- whether it answers ---------------------------------------------------------------------------


async def test_without_models_it_is_ready_at_once(make):
    instance = make()
    await instance.start()
    assert instance.ready() == (True, [])
    assert instance.failures() == []


async def test_what_required_models_lack_is_told(make, put, eventually):
    put("m")
    put("extra", required=False)
    instance = make()
    await instance.start()
    ready, reasons = instance.ready()
    assert not ready
    assert instance.failures() == []  # nothing has failed yet, so the plane's reasons are told
    assert len(reasons) == 1
    assert "m" in reasons[0]
    Roles.made.on_failed(key_of("extra"), "no matter")
    Roles.made.on_failed(key_of("m"), "ended with exit code 3")
    assert instance.failures() == []  # its last words may still be on their way
    await eventually(instance.failures)
    said = ["model 'm' version 1: ended with exit code 3"]
    assert instance.failures() == said
    assert instance.ready() == (False, said)


@pytest.mark.parametrize(
    ("certain_s", "told"), [(60.0, ["n"]), (0.02, ["m", "n"])], ids=["not yet", "certain"]
)
async def test_a_failure_counts_once_no_earlier_version_can_stand_in(
    make, put, eventually, monkeypatch, certain_s, told
):
    monkeypatch.setattr(fall_back, "CERTAIN_S", certain_s)
    put("m", versions="latest")
    put("n")
    instance = make()
    await instance.start()
    for name in ("m", "n"):
        Roles.made.on_failed(key_of(name), "odd")
    await eventually(lambda: len(instance.failures()) == len(told))
    assert instance.failures() == [f"model '{name}' version 1: odd" for name in told]


async def test_a_model_that_is_broken_on_disk_is_a_failure(make, put, models):
    put("m")
    (models / "m" / "model.yaml").write_text("format: none\nrequired: true")
    instance = make()
    await instance.start()
    (sentence,) = instance.failures()
    assert sentence.startswith("model 'm': ")
    assert instance.ready() == (False, [sentence])


async def test_news_end_the_wait(started):
    Roles.made.on_failed(key_of("m"), "why")
    while not started.failures():
        await started.news(60)
    await started.news(0.001)  # without any it ends in time


# -- what it orders of its roles ------------------------------------------------------------------


async def test_a_role_that_joined_has_had_its_turn(join, eventually):
    join(Member("monitor", "watcher", os.getpid(), "unix:/monitor"))
    await eventually(lambda: ("joined", "watcher") in Roles.made.orders)


async def test_an_explainer_runs_from_its_first_question_to_its_end(started, eventually):
    connection = await connect(Roles.made.address, None)
    asked = asyncio.ensure_future(connection.request(EXPLAINER, ExplainerMeta("m", "1")))
    await eventually(lambda: orders("explain"))
    assert orders("explain") == [("explain", ["m"])]
    Roles.made.on_explainer_ended(key_of("m"), "ended with exit code 3")
    with pytest.raises(VigilError, match="ended with exit code 3"):
        await asked
    assert orders("explain")[-1] == ("explain", [])
    connection.close()


async def test_gateways_hear_how_a_replica_ended(join, eventually):
    gateway = join(Member("gateway", "g", 1))
    await eventually(lambda: gateway.directories)
    ended = EndedMeta("m-1-0", "ended with exit code 3", True)
    Roles.made.on_ended(ended)
    await eventually(lambda: gateway.ended == [ended])


# -- what it watches ------------------------------------------------------------------------------


async def test_the_monitor_starts_once_when_models_are_settled(make, put, eventually):
    put("m")
    instance = make()
    await instance.start()
    watching = asyncio.ensure_future(instance.watch())
    await eventually(lambda: len(Roles.made.busy) >= 2)
    assert not orders("monitor")
    Roles.made.on_failed(key_of("m"), "odd")  # settled, though not as anybody wished
    await eventually(lambda: orders("monitor"))
    seen = len(Roles.made.busy)
    await eventually(lambda: len(Roles.made.busy) > seen + 2)
    assert len(orders("monitor")) == 1
    await ended(watching)


@pytest.mark.parametrize(
    ("monitors", "idents"), [(1, ["monitor"]), (2, ["monitor-0", "monitor-1"])]
)
async def test_the_monitors_of_no_models_start_at_once(make, eventually, monitors, idents):
    instance = make(monitors=monitors)
    await instance.start()
    assert instance._registry.directory.monitors == monitors
    watching = asyncio.ensure_future(instance.watch())
    await eventually(lambda: orders("monitor"))
    assert orders("monitor") == [("monitor", *idents)]
    await ended(watching)


async def test_what_computes_too_long_is_for_the_roles_to_judge(started, join, eventually):
    replica = join(Member("replica", "r", os.getpid(), "unix:/r", "m", "1"))
    replica.report = Report(True, (), ReplicaStatus(busy_s=7.0))
    watching = asyncio.ensure_future(started.watch())
    await eventually(lambda: ("r", 7.0) in Roles.made.busy[-1:][0] if Roles.made.busy else False)
    await ended(watching)


async def ended(watching):
    assert not watching.done()
    watching.cancel()
    await asyncio.wait({watching})


# -- who may give orders --------------------------------------------------------------------------


@pytest.mark.parametrize("clients_control", [True, False])
async def test_clients_control_the_server_only_where_the_application_says_so(make, clients_control):
    decide = make(clients_control=clients_control).app.access.decide
    for method, headers in (("POST", {b"host": b"anything"}), ("GET", {}), ("", None)):
        refused = decide(Scope.CONTROL, "m", ANYBODY, method, headers)
        assert (refused is None) is clients_control
        assert refused is None or "admin pages" in refused.message
        assert decide(Scope.METADATA, "", ANYBODY, method, headers) is None
