"""The roles as Serve deployments: each class hosts one role in the loop of its actor.

Serve decides where they live and replaces the dead. It asks `check_health` in the very loop that
does the work, so that a loop that hangs is found out. A replica that hangs in a batch ends itself
before that.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

import ray
from ray import serve

from serving.admin.server import AdminServer
from serving.channel.messages.directory import Inventory, ModelKey, ServedModel
from serving.control.composition import ControlPlane
from serving.control.registry import Registry
from serving.control.runtime_settings import Chosen
from serving.control.served_model import config_of
from serving.engines.ray.hang_watch import HangWatch, end_hung
from serving.engines.ray.instance import Instance
from serving.telemetry.logs.setup import adopt, configure
from serving.telemetry.process import ProcessSeries

SETTLE_S = 1.0
"""A control plane that replaces a dead one waits this long for members; a first one loses nothing
by it, because loading a model takes longer."""
HAND_OVER_S: Final = 60.0
"""How long an admin actor that starts waits for the driver to say what is served."""
KEPT_S: Final = 10.0
"""How long the answer to an order waits until the driver has heard of it; that may be gone."""


@dataclass(frozen=True, slots=True)
class Order:
    """What must be deployed, and what an admin actor needs that replaces a dead one.

    Attributes:
        number: grows with every order; 0 is none yet.
        models: those that have replicas: what is active, and what still answers its last requests.
        candidates: what is tried.
        explained: those whose explainers are wanted.
        inventory: what clients are answered with, and what cannot be served.
        chosen: how gateways log and trace.
    """

    number: int = 0
    models: tuple[ServedModel, ...] = ()
    candidates: tuple[ServedModel, ...] = ()
    explained: tuple[ModelKey, ...] = ()
    inventory: Inventory = field(default_factory=Inventory)
    chosen: Chosen = field(default_factory=Chosen)


def member_name(prefix: str) -> str:
    """Return the caller's name in the directory: a replacement gets the name of the dead."""
    return f"{prefix}-{serve.get_replica_context().rank.rank}"


def own_address(instance: Instance) -> str:
    """Return where the role in this actor listens; no two actors ever share a socket."""
    ident = serve.get_replica_context().replica_id.unique_id
    host = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    return instance.address(ident, host)


def gateway_members(instance: Instance) -> int:
    """Return how many gateways register: beside each process there is the one in its actor."""
    return instance.config.gateways * (1 if instance.config.ingress == "serve" else 2)


def log_as(role: str, instance: Instance, served: ServedModel | None = None) -> None:
    """Have this actor's process log as the instance does; Ray hands its lines to the driver."""
    telemetry = instance.config.telemetry
    model, version = (served.name, served.version) if served else ("", "")
    logs = (telemetry.logs.endpoint, telemetry.logs.protocol)
    configure(
        role, telemetry.log_format, telemetry.log_level, model=model, version=version,
        collector=logs,
    )  # fmt: skip
    adopt("ray")


class AdminDeployment:
    """The control plane and the admin listener.

    The control plane opens once the driver has said what is served, for this actor may replace a
    dead one: a gateway that was told of the models of the start would drop those that were loaded
        later.
    """

    def __init__(self, instance: Instance) -> None:
        log_as("registry", instance)
        self._instance = instance
        self._registry = Registry(
            gateways=gateway_members(instance),
            monitors=instance.config.monitors,
            secret=instance.secret,
            settle_s=SETTLE_S,
        )
        self._registry.processes.append(ProcessSeries(self._registry.series, "admin", "admin"))
        # Times tell this actor's orders from those of one that it replaces.
        self._order = Order(time.time_ns(), instance.inventory.models)
        self._news = asyncio.Event()
        self._last = Order(inventory=instance.inventory)
        self._handed_over = asyncio.Event()
        self._known = 0
        self._learned = asyncio.Event()
        self._room = ControlPlane(
            self._registry, instance.config, self._want, self._set, kept=self._kept
        )
        self._registry.explainers.on_change = self._set
        self._admin = AdminServer(
            self._registry, instance.config, self._room.commands, self._room.incidents
        )
        self._started = asyncio.get_running_loop().create_task(self._start())

    async def _start(self) -> None:
        with contextlib.suppress(TimeoutError):  # on a cluster the driver may be gone for good
            async with asyncio.timeout(HAND_OVER_S):
                await self._handed_over.wait()
        # Before the control plane listens: whoever joins it learns at once what is served.
        self._room.start(self._last.inventory, self._last.chosen)
        self._registry.explainers.restore(self._last.explained)
        await self._registry.start(self._instance.registry_address)
        await self._admin.start()

    def _want(self, models: Sequence[ServedModel], candidates: Sequence[ServedModel]) -> None:
        self._order = Order(self._order.number + 1, tuple(models), tuple(candidates))
        self._news.set()

    def _set(self) -> None:
        """Have the driver ask for what goes with an order besides its models."""
        self._order = replace(self._order, number=self._order.number + 1)
        self._news.set()

    async def _kept(self) -> None:
        """Wait until the driver knows of what is wanted now, and so would a successor."""
        number = self._order.number
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(KEPT_S):
                while self._known < number:
                    self._learned.clear()
                    await self._learned.wait()

    async def wanted(self, seen: Order, hold_s: float) -> Order:
        """Return what must be deployed, once it is not what the caller knows, or after `hold_s`.

        The first caller's order is that of this actor's predecessor, if it had one; what was
        loaded, unloaded and set since the start is taken over from there.
        """
        if not self._handed_over.is_set():
            self._last = seen
            self._handed_over.set()
        self._known = seen.number
        self._learned.set()
        await asyncio.shield(self._started)
        if self._order.number == seen.number:
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(hold_s):
                    await self._news.wait()
        now = self._registry.directory
        inventory = Inventory(now.models, now.broken)
        explained = tuple(served.key for served in self._registry.explainers.asked)
        return replace(
            self._order, explained=explained, inventory=inventory, chosen=self._room.chosen
        )

    async def check_health(self) -> None:
        """Raise if the listeners could not be opened; they need not be open yet."""
        if self._started.done():
            self._started.result()

    async def ready(self) -> tuple[bool, list[str]]:
        """Whether the instance is ready, and why not."""
        return self._registry.ready()

    async def started(self) -> bool:
        """Whether each required model of the start answers or has failed."""
        return self._room.started

    async def leave(self) -> None:
        """Be not ready from now on, as every gateway is; everything is answered until `drain`."""
        self._registry.leave()

    async def drain(self) -> None:
        """Tell the gateways to end."""
        self._registry.drain()

    async def __del__(self) -> None:
        """Answer what is under way, then close."""
        self._room.stop()
        await self._admin.stop()
        await self._room.finish()
        self._registry.stop()


class ReplicaDeployment:
    """One replica of one model version."""

    def __init__(self, instance: Instance, served: ServedModel) -> None:
        # Imports torch, which costs seconds that only replicas have to pay.
        from serving.replica.role import make_replica
        from serving.roles.load_failure import tell_failed

        log_as("replica", instance, served)
        ident = member_name(f"replica-{'-'.join(served.key)}")
        self._role = role = make_replica(
            served,
            ident,
            own_address(instance),
            instance.registry_address,
            instance.secret,
        )
        try:
            self._role.load()
        except Exception as error:
            tell_failed(served, error, instance.registry_address, instance.secret)
            raise
        limit_s = config_of(served).replicas.hang_timeout_s
        self._watch = HangWatch(lambda: role.busy_s, limit_s, partial(end_hung, served, ident))
        self._watch.start()
        self._started = asyncio.get_running_loop().create_task(self._role.start())

    async def check_health(self) -> None:
        """Raise if the channel could not be opened; answers late while a batch computes."""
        await asyncio.shield(self._started)

    async def infer_frame(self, frame: bytes) -> bytes:
        """Answer one encoded frame with one; see `ReplicaServer.infer_frame`."""
        return await self._role.infer_frame(frame)

    async def __del__(self) -> None:
        """Say goodbye, finish, close."""
        await self._role.stop()
        self._watch.stop()


class ExplainerDeployment:
    """The explainer of one model version."""

    def __init__(self, instance: Instance, served: ServedModel) -> None:
        from serving.explaining.role import ExplainerRole
        from serving.roles.load_failure import tell_failed

        log_as("explainer", instance, served)
        self._role = ExplainerRole(
            served,
            f"explainer-{'-'.join(served.key)}",
            own_address(instance),
            instance.registry_address,
            instance.secret,
        )
        try:
            self._role.load()
        except Exception as error:
            tell_failed(served, error, instance.registry_address, instance.secret, "explainer")
            raise
        self._started = asyncio.get_running_loop().create_task(self._role.start())

    async def check_health(self) -> None:
        """Raise if the channel could not be opened."""
        await asyncio.shield(self._started)

    async def __del__(self) -> None:
        """Finish what is under way, and leave."""
        await self._role.stop()


class MonitorDeployment:
    """A monitor of the instance."""

    def __init__(self, instance: Instance, ident: str) -> None:
        from serving.monitoring.role import MonitorRole

        log_as("monitor", instance)
        host = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
        self._role = MonitorRole(
            instance.registry_address,
            instance.address(ident, host),
            instance.config.data_dir.absolute(),
            ident,
            secret=instance.secret,
            log=instance.config.log,
            cloudevents=instance.config.cloudevents,
        )
        self._started = asyncio.get_running_loop().create_task(self._role.start())

    async def check_health(self) -> None:
        """Raise if the channel could not be opened."""
        await asyncio.shield(self._started)

    async def __del__(self) -> None:
        """Save everything, and leave."""
        await self._role.stop()
