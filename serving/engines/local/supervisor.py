"""The local engine: one supervisor process, the roles as its children, no Ray.

The supervisor hosts the control plane and the admin listener. It never touches a request: when it
dies its children die with it (the kernel sees to that), when a child dies it is started again.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
from collections.abc import Callable

from serving.admin.server import AdminServer
from serving.channel.messages.directory import Inventory, ModelKey
from serving.channel.monitor_shares import monitor_ids
from serving.config import ConfigError, Listen, ServerConfig
from serving.control.composition import ControlPlane
from serving.control.registry import Registry
from serving.engines.data_folder import held
from serving.engines.gateway_child import GatewayChild
from serving.engines.local.roles import LocalRoles
from serving.engines.process import free_port, require_free_port
from serving.engines.runtime_folder import make_runtime_folder
from serving.engines.stop_order import StopOrder, tell_delay
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report
from serving.telemetry.process import ProcessSeries

WATCH_S = 0.5
LAST_WORDS_S = 0.3


def fixed_ports(listen: Listen) -> Listen:
    """Replace port 0 by a free port and refuse taken ones.

    Raises:
        ConfigError: a port is taken.
    """
    chosen: dict[str, int] = {}
    keys = ("http_port", "grpc_port", "admin_port")
    taken = {getattr(listen, key) for key in keys} - {0}
    if len(taken) < sum(bool(getattr(listen, key)) for key in keys):
        raise ConfigError("listen: http_port, grpc_port and admin_port must differ")
    for key in keys:
        host = listen.admin_host if key == "admin_port" else listen.host
        port = getattr(listen, key)
        while not port or (not getattr(listen, key) and port in taken):
            port = free_port(host)
        require_free_port(host, port, key)
        chosen[key] = port
        taken.add(port)
    return listen.model_copy(update=chosen)


class Supervisor:
    """Starts, keeps and stops every process of one instance.

    Args:
        config: the server's configuration.
        inventory: what to serve.
        on_ready: called with the addresses once everything required is ready.
    """

    def __init__(
        self,
        config: ServerConfig,
        inventory: Inventory,
        on_ready: Callable[[Listen], None],
    ) -> None:
        self._config = config
        self._inventory = inventory
        self._on_ready = on_ready
        self._listen = fixed_ports(config.listen)
        # Unix socket paths are limited to 107 bytes, so not under an arbitrary data_dir.
        self._runtime = make_runtime_folder()
        self._registry = Registry(
            gateways=config.gateways, monitors=config.monitors, tells_ends=True
        )
        self._registry_address = f"unix:{self._runtime}/registry.sock"
        config = config.model_copy(update={"listen": self._listen})
        self._roles = LocalRoles(
            self._registry_address,
            self._runtime,
            config.data_dir,
            config.log,
            self._replica_failed,
            self._registry.tell_ended,
        )
        self._registry.on_joined = lambda member: self._roles.joined(member.id)
        self._roles.cloudevents = config.cloudevents
        self._roles.on_explainer_ended = self._explainer_ended
        explainers = self._registry.explainers
        explainers.on_change = lambda: self._roles.explain(explainers.asked)
        self._control = ControlPlane(self._registry, config, self._roles.serve)
        self._admin = AdminServer(
            self._registry, config, self._control.commands, self._control.incidents
        )
        self._gateways: list[GatewayChild] = []
        self._stop_order = StopOrder(asyncio.Event(), asyncio.Event())
        self._announced = False
        self._helped = False

    async def run(self) -> int:
        """Serve until SIGTERM or SIGINT; returns the exit code."""
        stop = self._stop_order
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.give)
        try:
            await self._start()
            watch = loop.create_task(self._watch())
            watch.add_done_callback(self._tell_failure)
            await stop.asked.wait()
            await self._leave()
            watch.cancel()
            drained = await self._stop()
        finally:
            shutil.rmtree(self._runtime, ignore_errors=True)
        return 0 if drained else 1

    async def _start(self) -> None:
        # The zygote's imports take longest, so it goes first.
        series = self._registry.series
        zygote = ProcessSeries(series, "zygote", "zygote", pid=0)
        self._roles.zygote.on_start = zygote.follow
        await self._roles.start()
        self._registry.processes.append(ProcessSeries(series, "supervisor", "supervisor"))
        self._registry.processes.append(zygote)
        # Before the control plane listens: whoever joins it learns at once what is served.
        self._control.start(self._inventory)
        await self._registry.start(self._registry_address)
        await self._admin.start()
        for index in range(self._config.gateways):
            self._start_gateway(f"gateway-{index}")

    def _replica_failed(self, key: ModelKey, why: str) -> None:
        # What the replica itself could say tells more, and may still be on its way.
        loop = asyncio.get_running_loop()
        loop.call_later(LAST_WORDS_S, self._registry.note_failure, key, why)

    def _explainer_ended(self, key: ModelKey, why: str) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(LAST_WORDS_S, self._registry.explainers.ended, key, why)

    def _start_gateway(self, ident: str) -> None:
        gateway = GatewayChild(
            self._config, self._listen, self._runtime, ident, self._registry_address
        )
        gateway.start()
        self._gateways.append(gateway)

    async def _watch(self) -> None:
        """Announce readiness once, start the monitors once, and look for replicas that hang."""
        while True:
            if not self._announced and self._registry.ready()[0]:
                self._announced = True
                self._on_ready(self._listen)
            if not self._helped and (self._announced or self._control.started):
                self._helped = True
                self._roles.start_monitors(monitor_ids(self._config.monitors))
            self._roles.kill_hung(
                (state.member.id, state.busy_s) for state in self._registry.states()
            )
            if self._roles.zygote.hopeless:
                said = "the zygote cannot be started; stopping so that a service manager tries anew"
                report(Event.SUPERVISOR_STOPS, said)
                self._stop_order.give_now()
                return
            await asyncio.sleep(WATCH_S if self._helped else 0.02)

    async def _leave(self) -> None:
        """Be not ready for a while, and answer meanwhile: balancers need time to hear of it."""
        delay_s = self._config.drain_delay_s
        # Else nobody has been sent here. Balancers ask the control plane, and may know before
        # `_watch` does.
        if delay_s and (self._announced or self._registry.ready()[0]):
            self._registry.leave()
            tell_delay(delay_s)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await self._stop_order.now.wait()

    async def _stop(self) -> bool:
        """Drain the gateways, then end everything; whether all in flight was answered."""
        self._registry.drain()
        results = await asyncio.gather(*[gateway.stop() for gateway in self._gateways])
        self._control.stop()
        await self._roles.stop()
        await self._admin.stop()
        await self._control.finish()
        self._registry.stop()
        return all(results)

    def _tell_failure(self, watch: asyncio.Task[None]) -> None:
        if not watch.cancelled() and (error := watch.exception()):
            # Unwatched, hung replicas would stay, readiness never be told: better to start anew.
            said = "the supervisor cannot watch any more; stopping"
            report(Event.SUPERVISOR_STOPS, said, error=error)
            self._stop_order.give_now()


def run(config: ServerConfig, inventory: Inventory, on_ready: Callable[[Listen], None]) -> int:
    """Serve with the local engine until SIGTERM or SIGINT; returns the exit code.

    Raises:
        ConfigError: a port is taken, another instance uses `data_dir`, or something the roles
            need is missing.
    """
    import uvloop

    with contextlib.suppress(KeyboardInterrupt), held(config.data_dir):
        return uvloop.run(_run(config, inventory, on_ready))
    return 0


async def _run(
    config: ServerConfig, inventory: Inventory, on_ready: Callable[[Listen], None]
) -> int:
    return await Supervisor(config, inventory, on_ready).run()
