"""An instance inside somebody else's process: control plane and gateway in its loop, the rest as
children.

It opens no port, takes no signal and leaves the process's log handlers and garbage collector
alone. When the process dies, the kernel ends its children.
"""

from __future__ import annotations

import asyncio
import shutil
from typing import Final

from starlette.types import ASGIApp

from serving.access.decision import Access
from serving.access.scopes import Scope
from serving.access.web import WebAccess
from serving.admin.pages import Pages
from serving.channel.messages.directory import Inventory, ModelKey, ServedModel
from serving.channel.monitor_shares import monitor_ids
from serving.config import ServerConfig
from serving.control.composition import ControlPlane
from serving.control.cost.costs import Costs
from serving.control.exports import Exports
from serving.control.history import History
from serving.control.registry import Registry
from serving.control.served_model import config_of, inventory
from serving.engines.local.roles import LocalRoles
from serving.engines.runtime_folder import make_runtime_folder
from serving.engines.worker_folder import WorkerFolder
from serving.gateway.app import GatewayComposition
from serving.gateway.asgi import VigilApp
from serving.gateway.body_budget import BodyBudget
from serving.models.repository.folder import ModelRepository
from serving.telemetry.logs.switch import LogSwitch

WATCH_S: Final = 0.5
STARTING_S: Final = 0.02
"""Seconds between two looks while it is not ready yet."""
LAST_WORDS_S: Final = 0.3

_NO_CONTROL: Final = (
    "this application lets its clients give no orders to the model server; use its admin pages, if "
    "it mounts them"
)


class EmbeddedInstance:
    """One instance from its start to its end, in the running loop.

    Args:
        config: the server's configuration; what it says of listeners, engine and gateways does
            not apply here.
        clients_control: whether whoever may infer may also load, unload and set.

    Attributes:
        app: answers requests; its `plane` is None before `start` has returned.
        admin: the pages of the admin listener as an ASGI app.

    Raises:
        ConfigError: `data_dir` cannot be written to.
    """

    def __init__(self, config: ServerConfig, *, clients_control: bool) -> None:
        self._folder = WorkerFolder(config.data_dir)
        self._config = config.model_copy(update={"data_dir": self._folder.path, "gateways": 1})
        # Unix socket paths are limited to 107 bytes, so not under an arbitrary data_dir.
        self._runtime = make_runtime_folder()
        self._registry_address = f"unix:{self._runtime}/registry.sock"
        self._registry = Registry(monitors=self._config.monitors, tells_ends=True)
        self._roles = LocalRoles(
            self._registry_address,
            self._runtime,
            self._folder.path,
            self._config.log,
            self._replica_failed,
            self._registry.tell_ended,
        )
        self._registry.on_joined = lambda member: self._roles.joined(member.id)
        self._roles.cloudevents = self._config.cloudevents
        self._roles.on_explainer_ended = self._explainer_ended
        explainers = self._registry.explainers
        explainers.on_change = lambda: self._roles.explain(explainers.asked)
        switch = LogSwitch(())
        # Each process of an application is an instance, and all have the same store_url.
        self._control = ControlPlane(
            self._registry,
            self._config,
            self._roles.serve,
            switch=switch,
            instance=self._folder.path.name,
        )
        history = History()
        host = "application"
        costs = Costs(self._registry, self._config)
        self._exports = Exports(
            self._registry, self._config, history, costs, engine=host, ingress=host
        )
        control = self._control
        pages = Pages(
            self._registry, self._config, history, control.commands, costs, control.incidents
        )
        self.admin: ASGIApp = pages.app(mounted=True)
        self._gateway = GatewayComposition(
            "gateway-0",
            self._registry_address,
            None,
            guest=True,
            server_name=self._config.listen.server_name,
            traces=self._config.telemetry.traces,
            bodies=BodyBudget(
                self._config.listen.inflight_bytes, self._config.listen.max_body_mib << 20
            ),
        )
        self.app = VigilApp(
            self._gateway.start,
            self._gateway.stop,
            self._config.listen.max_body_mib << 20,
            self._config.listen.cors_origins,
            # Under which names the host is reached, and by whom, is its own matter.
            Access(
                WebAccess(self._config.listen.cors_origins),
                {} if clients_control else {Scope.CONTROL: _NO_CONTROL},
            ),
            self._gateway.bodies,
        )
        self._required: list[ServedModel] = []

    async def start(self) -> None:
        """Start every process; returns once the data plane knows what is served.

        Raises:
            ConfigError: the models' folder is missing or cannot be read.
        """
        found = await asyncio.to_thread(_inventory, self._config)
        self._required = [served for served in found.models if _is_required(served)]
        # The zygote's imports take longest, so it goes first.
        await self._roles.start()
        # Before the control plane listens: whoever joins it learns at once what is served.
        self._control.start(found)
        await self._registry.start(self._registry_address)
        self._exports.start()
        plane = await self._gateway.start()
        while not plane.status().generation:
            await plane.changed
        self.app.plane = plane

    async def watch(self) -> None:
        """Start the monitors once models are settled, replace what hangs; never returns."""
        helped = False
        while True:
            if not helped and (self._registry.ready()[0] or self._control.started):
                helped = True
                self._roles.start_monitors(monitor_ids(self._config.monitors))
            self._roles.kill_hung(
                (state.member.id, state.busy_s) for state in self._registry.states()
            )
            await asyncio.sleep(WATCH_S if helped else STARTING_S)

    async def stop(self) -> None:
        """End every child, then what is here."""
        try:
            self._registry.drain()
            self._control.stop()
            await self._roles.stop()
            await self._gateway.stop()
            await self._exports.stop()
            await self._control.finish()
            self._registry.stop()
        finally:
            shutil.rmtree(self._runtime, ignore_errors=True)
            self._folder.release()

    def ready(self) -> tuple[bool, list[str]]:
        """Whether every required model answers, and why not; `start` has returned."""
        assert self.app.plane is not None
        ready, reasons = self.app.plane.ready()
        return ready, [] if ready else self.failures() or reasons

    def failures(self) -> list[str]:
        """Return why required models of the start could not be loaded, one sentence each."""
        return self._registry.directory.missing + [
            f"model '{served.name}' version {served.version}: {why}"
            for served in self._required
            if self._control.settled(served.key) and (why := self._registry.failures.of(served.key))
        ]

    async def news(self, timeout_s: float) -> None:
        """Wait until something may have changed."""
        await self._registry.news(timeout_s)

    def _replica_failed(self, key: ModelKey, why: str) -> None:
        # What the replica itself could say tells more, and may still be on its way.
        loop = asyncio.get_running_loop()
        loop.call_later(LAST_WORDS_S, self._registry.note_failure, key, why)

    def _explainer_ended(self, key: ModelKey, why: str) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(LAST_WORDS_S, self._registry.explainers.ended, key, why)


def _is_required(served: ServedModel) -> bool:
    return config_of(served).required


def _inventory(config: ServerConfig) -> Inventory:
    return inventory(ModelRepository(config.models, config.remote_hosts, config.log))
