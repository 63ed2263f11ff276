"""The actors, made without Serve: none of them is in a process of its own."""

from __future__ import annotations

import asyncio
import sys
import warnings
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from serving.channel.endpoint import connect
from serving.channel.messages.control import EXPLAINER, ExplainerMeta
from serving.channel.messages.directory import BrokenModel, Inventory, Member, ServedModel
from serving.channel.messages.reports import GatewayStatus, Report
from serving.channel.registry_client import RegistryClient
from serving.config import Listen, ServerConfig
from serving.control.runtime_settings import Chosen
from serving.protocol.repository import ControlMeta
from serving.roles import load_failure

with warnings.catch_warnings():
    # What Ray's own imports warn about is not ours to mend.
    warnings.simplefilter("ignore")
    from serving.engines.ray import deployments
    from serving.engines.ray.deployments import (
        AdminDeployment,
        ExplainerDeployment,
        MonitorDeployment,
        Order,
        ReplicaDeployment,
    )
    from serving.engines.ray.instance import Instance

pytestmark = pytest.mark.ray

LISTEN = Listen(http_port=0, grpc_port=0, admin_port=0)


class Admin(AdminDeployment):
    """Outside Serve nobody awaits the destructor."""

    def __del__(self) -> None: ...


@pytest.fixture
def instance(tmp_path: Path) -> Callable[..., Instance]:
    def make(
        inventory: Inventory | None = None, secret: bytes | None = None, **config: Any
    ) -> Instance:
        base = {"listen": LISTEN, "data_dir": tmp_path / "data", "models": tmp_path}
        address = f"unix:{tmp_path}/registry.sock"
        server = ServerConfig(**{**base, **config})
        return Instance(server, inventory or Inventory(), tmp_path, address, secret)

    return make


@pytest.fixture(autouse=True)
def logged(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """How processes log; this one is left as it is."""
    said: list[Any] = []
    monkeypatch.setattr(deployments, "configure", lambda *how, **of: said.append((*how, of)))
    monkeypatch.setattr(deployments, "adopt", lambda name: said.append(name))
    return said


@pytest.fixture
async def make(instance: Any) -> AsyncIterator[Callable[..., Admin]]:
    made: list[Admin] = []

    def admin(*inventory: Inventory, **config: Any) -> Admin:
        made.append(Admin(instance(*inventory, **config)))
        return made[-1]

    yield admin
    for each in made:
        await AdminDeployment.__del__(each)


@pytest.fixture(autouse=True)
def context(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Serve and Ray say of the actor."""
    told = SimpleNamespace(rank=SimpleNamespace(rank=3), replica_id=SimpleNamespace(unique_id="u1"))
    monkeypatch.setattr(deployments.serve, "get_replica_context", lambda: told)
    monkeypatch.setattr(deployments.ray.util, "get_node_ip_address", lambda: "10.0.0.7")


# -- names and places -----------------------------------------------------------------------------


def test_an_actor_is_named_by_its_rank_and_listens_under_its_own_id(instance: Any) -> None:
    assert deployments.member_name("replica-m-1-0") == "replica-m-1-0-3"
    here = instance()
    assert deployments.own_address(here) == f"unix:{here.runtime}/u1.sock"
    there = Instance(here.config, here.inventory, None, "tcp:10.0.0.1:1", b"s")
    assert deployments.own_address(there) == "tcp:10.0.0.7:0"


@pytest.mark.parametrize(
    ("ingress", "gateways", "members"),
    [("serve", 1, 1), ("serve", 3, 3), ("direct", 1, 2), ("direct", 3, 6), ("envoy", 2, 4)],
)
def test_a_gateway_beside_a_process_is_a_member_too(
    instance: Any, ingress: str, gateways: int, members: int
) -> None:
    made = instance(ingress=ingress, gateways=gateways)
    assert deployments.gateway_members(made) == members


@pytest.mark.parametrize("of", [True, False])
def test_an_actor_logs_as_the_instance_does(
    instance: Any, logged: list[Any], served: ServedModel, of: bool
) -> None:
    made = instance(telemetry={"log_format": "json", "log_level": "warning"})
    deployments.log_as("replica", made, served if of else None)
    about = {"model": "m", "version": "1"} if of else {"model": "", "version": ""}
    assert logged == [("replica", "json", "warning", {**about, **NO_COLLECTOR}), "ray"]


# -- what must be deployed ------------------------------------------------------------------------


async def test_the_first_driver_is_told_of_the_models_of_the_start(
    make: Any, served: ServedModel, tmp_path: Path
) -> None:
    broken = BrokenModel("b", "1", "odd")
    admin = make(Inventory((served,), (broken,)))
    assert not (tmp_path / "registry.sock").exists()
    order = await admin.wanted(Order(inventory=Inventory((served,), (broken,))), 0)
    assert (tmp_path / "registry.sock").exists()
    assert [each.name for each in order.models] == ["m"]
    assert (order.candidates, order.explained) == ((), ())
    assert [each.name for each in order.inventory.models] == ["m"]
    assert order.inventory.broken == (broken,)
    await admin.check_health()


async def test_what_the_driver_knows_replaces_what_the_instance_began_with(
    make: Any, served: ServedModel
) -> None:
    """As where this actor replaces one that had been told to serve something else since."""
    admin = make(Inventory((), (BrokenModel("old", "1", "odd"),)))
    known = Order(5, (served,), (), (served.key,), Inventory((served,)), Chosen(2, {}, {}, {}))
    order = await admin.wanted(known, 0)
    assert order.number > known.number
    assert [each.name for each in order.inventory.models] == ["m"]
    assert order.inventory.broken == ()
    assert order.explained == (served.key,)
    assert order.chosen.number == 2


async def test_only_the_first_caller_hands_anything_over(make: Any, served: ServedModel) -> None:
    admin = make()
    await admin.wanted(Order(), 0)
    order = await admin.wanted(Order(7, (served,), inventory=Inventory((served,))), 0)
    assert order.inventory.models == ()


async def test_without_a_driver_it_begins_with_what_it_was_made_with(
    make: Any, served: ServedModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, eventually: Any
) -> None:
    monkeypatch.setattr(deployments, "HAND_OVER_S", 0.01)
    admin = make(Inventory((served,)))
    await eventually((tmp_path / "registry.sock").exists)
    order = await admin.wanted(Order(), 0)
    assert [each.name for each in order.inventory.models] == ["m"]


async def test_orders_of_a_successor_are_newer(make: Any) -> None:
    first = await make().wanted(Order(), 0)
    assert (await make().wanted(Order(), 0)).number > first.number > 0


async def test_a_driver_that_knows_all_waits_for_news(make: Any) -> None:
    admin = make()
    known = await admin.wanted(Order(), 0)
    assert await admin.wanted(known, 0) == known  # or until it has waited enough
    waiting = asyncio.create_task(admin.wanted(known, 60))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    admin._set()  # as explainers and settings do
    assert (await waiting).number == known.number + 1
    # What came while nobody asked is told at once.
    assert (await admin.wanted(known, 60)).number == known.number + 1


async def test_a_question_that_wants_an_explainer_is_an_order(
    make: Any, served: ServedModel, tmp_path: Path
) -> None:
    admin = make()
    known = await admin.wanted(Order(inventory=Inventory((served,))), 0)
    connection = await connect(f"unix:{tmp_path}/registry.sock")
    asking = asyncio.ensure_future(connection.request(EXPLAINER, ExplainerMeta("m", "1")))
    order = await admin.wanted(known, 60)
    assert order.number > known.number
    assert order.explained == (served.key,)
    asking.cancel()
    await asyncio.wait({asking})
    connection.close()


async def test_an_order_is_answered_once_the_driver_knows_of_it(make: Any) -> None:
    """Until then the actor that replaces a dead one would not have heard of it."""
    admin = make()
    first = await admin.wanted(Order(), 0)
    order = ControlMeta("logging", settings={"log_verbose_level": 1})
    answer = asyncio.create_task(admin._room.commands.answer(order))
    told = await admin.wanted(first, 10)
    assert told.number > first.number
    assert told.chosen.log == {"log_verbose_level": 1}
    assert not answer.done()
    await admin.wanted(told, 0)
    assert (await answer)["log_verbose_level"] == 1
    await admin._room.commands.answer(ControlMeta("logging"))  # a question changes nothing


async def test_an_order_does_not_wait_for_ever_for_a_driver_that_is_gone(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deployments, "KEPT_S", 0.01)
    admin = make()
    await admin.wanted(Order(), 0)
    order = ControlMeta("logging", settings={"log_verbose_level": 1})
    assert (await admin._room.commands.answer(order))["log_verbose_level"] == 1


# -- its health -----------------------------------------------------------------------------------


async def test_it_is_well_while_it_opens_and_ill_if_it_cannot(make: Any, tmp_path: Path) -> None:
    admin = make()
    await admin.check_health()  # nobody has handed over yet
    (tmp_path / "registry.sock").mkdir()
    with pytest.raises(OSError, match=r"registry\.sock"):
        await admin.wanted(Order(), 0)
    with pytest.raises(OSError, match=r"registry\.sock"):
        await admin.check_health()


async def test_it_is_ready_with_its_gateways_and_not_once_it_leaves(make: Any) -> None:
    admin = make(gateways=2)
    await admin.wanted(Order(), 0)
    ready, reasons = await admin.ready()
    assert not ready
    assert "4" in " ".join(reasons)  # of two processes and the two actors beside them
    assert await admin.started() is False
    await admin.leave()
    assert await admin.ready() != (ready, reasons)
    assert (await admin.ready())[0] is False


async def test_gateways_are_told_to_end(make: Any, tmp_path: Path, eventually: Any) -> None:
    admin = make()
    drained: list[bool] = []
    await admin.wanted(Order(), 0)
    client = RegistryClient(
        f"unix:{tmp_path}/registry.sock", None, Member("gateway", "g", 1),
        lambda: Report(True, (), GatewayStatus()),
        on_directory=lambda _: None, on_drain=lambda: drained.append(True),
    )  # fmt: skip
    client.start()
    await eventually(lambda: client.connected)
    await admin.drain()
    await eventually(lambda: drained)
    await client.stop()


# -- the other roles ------------------------------------------------------------------------------


class Role:
    """A role of any kind: what it was made of, and what became of it."""

    made: ClassVar[list[Role]] = []
    fails: Exception | None = None
    cannot_start: Exception | None = None
    busy_s = 0.0

    def __init__(self, *arguments: Any, **more: Any) -> None:
        self.arguments, self.more, self.steps = arguments, more, []
        Role.made.append(self)

    def load(self) -> None:
        self.steps.append("load")
        if self.fails:
            raise self.fails

    async def start(self) -> None:
        self.steps.append("start")
        if self.cannot_start:
            raise self.cannot_start

    async def stop(self) -> None:
        self.steps.append("stop")

    async def infer_frame(self, frame: bytes) -> bytes:
        return frame[::-1]


class Watch:
    """Watches nothing; keeps what it was told."""

    made: ClassVar[list[Watch]] = []

    def __init__(self, busy_s: Any, limit_s: float, on_hung: Any) -> None:
        self.busy_s, self.limit_s, self.on_hung = busy_s, limit_s, on_hung
        self.steps: list[str] = []
        Watch.made.append(self)

    def start(self) -> None:
        self.steps.append("start")

    def stop(self) -> None:
        self.steps.append("stop")


@pytest.fixture(autouse=True)
def watches(monkeypatch: pytest.MonkeyPatch) -> list[Watch]:
    monkeypatch.setattr(Watch, "made", [])
    monkeypatch.setattr(deployments, "HangWatch", Watch)
    return Watch.made


@pytest.fixture
def roles(monkeypatch: pytest.MonkeyPatch) -> list[Role]:
    """Roles that are made; their real modules would import torch and more."""
    monkeypatch.setattr(Role, "made", [])
    for module, name in (
        ("serving.replica.role", "make_replica"),
        ("serving.explaining.role", "ExplainerRole"),
        ("serving.monitoring.role", "MonitorRole"),
    ):
        monkeypatch.setitem(sys.modules, module, SimpleNamespace(**{name: Role}))
    return Role.made


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    said: list[Any] = []
    monkeypatch.setattr(load_failure, "tell_failed", lambda *what: said.append(what))
    return said


class Replica(ReplicaDeployment):
    def __del__(self) -> None: ...


class Explainer(ExplainerDeployment):
    def __del__(self) -> None: ...


class Monitor(MonitorDeployment):
    def __del__(self) -> None: ...


def deployed(kind: str, instance: Any, served: ServedModel) -> Any:
    made = instance(secret=b"s")
    if kind == "monitor":
        return Monitor(made, "monitor-1")
    return {"replica": Replica, "explainer": Explainer}[kind](made, served)


KINDS = pytest.mark.parametrize("kind", ["replica", "explainer", "monitor"])


NO_COLLECTOR = {"collector": (None, None)}


@KINDS
async def test_a_role_is_told_where_everything_is(
    instance: Any, served: ServedModel, roles: list[Role], logged: list[Any], kind: str
) -> None:
    made = deployed(kind, instance, served)
    await made.check_health()
    (role,) = roles
    here = instance()
    name = {"replica": f"replica-{'-'.join(served.key)}-3"}.get(
        kind, f"explainer-{'-'.join(served.key)}"
    )
    at = f"unix:{here.runtime}/u1.sock"
    if kind == "monitor":
        at = f"unix:{here.runtime}/monitor-1.sock"
        data_dir = here.config.data_dir.absolute()
        assert role.arguments == (here.registry_address, at, data_dir, "monitor-1")
        assert role.more == {"secret": b"s", "log": here.config.log, "cloudevents": None}
        assert role.steps == ["start"]
    else:
        assert role.arguments == (served, name, at, here.registry_address, b"s")
        assert role.steps == ["load", "start"]
    named = ("", "") if kind == "monitor" else ("m", "1")
    about = dict(zip(("model", "version"), named, strict=True))
    assert logged[0][0] == kind
    assert logged[0][-1] == {**about, **NO_COLLECTOR}


@KINDS
async def test_a_role_that_cannot_listen_is_ill(
    instance: Any, served: ServedModel, roles: list[Role], monkeypatch: Any, kind: str
) -> None:
    monkeypatch.setattr(Role, "cannot_start", OSError("address in use"))
    made = deployed(kind, instance, served)
    for _ in range(2):
        with pytest.raises(OSError, match="address in use"):
            await made.check_health()


@pytest.mark.parametrize("kind", ["replica", "explainer"])
async def test_a_model_that_cannot_be_loaded_is_told_to_the_control_plane(
    instance: Any,
    served: ServedModel,
    roles: list[Role],
    told: list[Any],
    monkeypatch: Any,
    kind: str,
) -> None:
    error = ValueError("no weights")
    monkeypatch.setattr(Role, "fails", error)
    with pytest.raises(ValueError, match="no weights"):
        deployed(kind, instance, served)
    ((whose, what, *where),) = told
    assert (whose, what) == (served, error)
    address = instance().registry_address
    assert where == [address, b"s"] + ([kind] if kind == "explainer" else [])
    assert roles[0].steps == ["load"]


async def test_a_question_about_health_that_is_given_up_ends_nothing(
    instance: Any, served: ServedModel, roles: list[Role], monkeypatch: Any
) -> None:
    opened = asyncio.Event()
    monkeypatch.setattr(Role, "start", lambda _self: opened.wait())
    for kind in ("replica", "explainer", "monitor"):
        made = deployed(kind, instance, served)
        opened.clear()
        asking = asyncio.create_task(made.check_health())
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait({asking})
        opened.set()
        await made.check_health()


@KINDS
async def test_a_role_says_goodbye(
    instance: Any, served: ServedModel, roles: list[Role], kind: str
) -> None:
    made = deployed(kind, instance, served)
    await made.check_health()
    await type(made).__mro__[1].__del__(made)
    assert roles[0].steps[-1] == "stop"


async def test_a_replica_is_watched_until_it_has_said_goodbye(
    instance: Any, served: ServedModel, roles: list[Role], watches: list[Watch], monkeypatch: Any
) -> None:
    ended: list[Any] = []
    monkeypatch.setattr(deployments, "end_hung", lambda *how: ended.append(how))
    made = deployed("replica", instance, served)
    (watch,) = watches
    roles[0].busy_s = 41.5
    assert (watch.busy_s(), watch.limit_s, watch.steps) == (41.5, 30, ["start"])
    watch.on_hung(41.5)
    assert ended == [(served, f"replica-{'-'.join(served.key)}-3", 41.5)]
    await made.check_health()
    await ReplicaDeployment.__del__(made)
    assert watch.steps == ["start", "stop"]


async def test_a_replica_answers_frames(
    instance: Any, served: ServedModel, roles: list[Role]
) -> None:
    assert await deployed("replica", instance, served).infer_frame(b"abc") == b"cba"
