"""The local engine: one supervisor process, the roles as its children, no Ray.

The supervisor hosts the hub and the admin listener. It never touches a request: when it dies
its children die with it (the kernel sees to that), when a child dies it is started again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from serving.admin.app import AdminServer
from serving.admin.hub import Hub
from serving.channel.directory import ServedModel
from serving.config import ConfigError, Listen, ModelConfig, ServerConfig
from serving.engines.children import Keeper, ZygoteClient, spawn
from serving.engines.gateway_child import GatewayChild
from serving.engines.process import free_port, require_free_port

_log = logging.getLogger("vigil.supervisor")
WATCH_S = 0.5


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
        models: what to serve.
        on_ready: called with the addresses once everything required is ready.
    """

    def __init__(
        self,
        config: ServerConfig,
        models: Sequence[ServedModel],
        on_ready: Callable[[Listen], None],
    ) -> None:
        self._config = config
        self._models = list(models)
        self._on_ready = on_ready
        self._listen = fixed_ports(config.listen)
        # Unix socket paths are limited to 107 bytes, so not under an arbitrary data_dir.
        self._runtime = Path(tempfile.mkdtemp(prefix="vigil-"))
        self._hub = Hub(gateways=config.gateways)
        self._hub_address = f"unix:{self._runtime}/hub.sock"
        self._admin = AdminServer(self._hub, config.model_copy(update={"listen": self._listen}))
        self._zygote: ZygoteClient | None = None
        self._replicas: dict[str, Keeper] = {}
        self._helpers: list[Keeper] = []
        self._gateways: list[GatewayChild] = []

    async def run(self) -> int:
        """Serve until SIGTERM or SIGINT; returns the exit code."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        try:
            await self._start()
            watch = loop.create_task(self._watch())
            watch.add_done_callback(_tell_failure)
            await stop.wait()
            watch.cancel()
            drained = await self._stop()
        finally:
            shutil.rmtree(self._runtime, ignore_errors=True)
        return 0 if drained else 1

    async def _start(self) -> None:
        # The zygote's imports take longest, so it goes first.
        self._zygote = ZygoteClient()
        await self._zygote.start()
        await self._hub.start(self._hub_address)
        self._hub.set_models(self._models)
        await self._admin.start()
        for index in range(self._config.gateways):
            self._start_gateway(f"gateway-{index}")
        for served in self._models:
            config = ModelConfig.model_validate_json(served.config)
            for index in range(config.replicas.min):
                self._keep_forked("replica", served, f"-{index}")

    def _start_gateway(self, ident: str) -> None:
        gateway = GatewayChild(self._config, self._listen, self._runtime, ident, self._hub_address)
        gateway.start()
        self._gateways.append(gateway)

    def _keep_forked(self, role: str, served: ServedModel, suffix: str = "") -> None:
        ident = f"{role}-{served.name}-{served.version}{suffix}"
        # Names of models may be long, socket paths may not.
        number = len(self._replicas) + len(self._helpers)
        address = f"unix:{self._runtime}/{role}-{number}.sock"
        zygote = self._zygote
        assert zygote is not None
        keeper = Keeper(
            ident,
            lambda: zygote.fork(role, served, ident, address, self._hub_address, None),
            self._exited,
        )
        keeper.run()
        if role == "replica":
            self._replicas[ident] = keeper
        else:
            self._helpers.append(keeper)

    def _start_helpers(self) -> None:
        """Start what no request waits for, once requests can be answered."""
        argv = [
            sys.executable, "-m", "serving.roles.monitor",
            "--hub", self._hub_address,
            "--address", f"unix:{self._runtime}/monitor.sock",
            "--data-dir", str(self._config.data_dir.absolute()),
        ]  # fmt: skip
        env = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        keeper = Keeper("monitor", lambda: spawn(argv, env), self._exited)
        keeper.run()
        self._helpers.append(keeper)
        for served in self._models:
            if ModelConfig.model_validate_json(served.config).explain is not None:
                self._keep_forked("explainer", served)

    async def _watch(self) -> None:
        """Announce readiness once, then look for replicas that hang."""
        assert self._zygote is not None
        announced = False
        limits = {
            (m.name, m.version): ModelConfig.model_validate_json(m.config).replicas.hang_timeout_s
            for m in self._models
        }
        while True:
            if not announced and self._hub.ready()[0]:
                announced = True
                self._on_ready(self._listen)
                self._start_helpers()
            for state in self._hub.states():
                limit = limits.get((state.member.model, state.member.version))
                busy_s = state.status.get("busy_s", 0.0)
                keeper = self._replicas.get(state.member.id)
                if limit and keeper and busy_s > limit:
                    _log.error("%s hangs since %.1f s; replacing it", state.member.id, busy_s)
                    keeper.signal(signal.SIGKILL)
            if self._zygote.lost.done():
                _log.critical("the zygote died; stopping so that a service manager can restart us")
                os.kill(os.getpid(), signal.SIGTERM)
                return
            await asyncio.sleep(WATCH_S if announced else 0.02)

    def _exited(self, name: str, code: int) -> None:
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        _log.warning("%s ended with %s; starting it again", name, how)

    async def _stop(self) -> bool:
        """Drain the gateways, then end everything; whether all in flight was answered."""
        self._hub.drain()
        results = await asyncio.gather(*[gateway.stop() for gateway in self._gateways])
        others = [*self._replicas.values(), *self._helpers]
        await asyncio.gather(*[keeper.stop(5.0) for keeper in others])
        if self._zygote:
            await self._zygote.stop()
        await self._admin.stop()
        self._hub.stop()
        return all(results)


def _tell_failure(watch: asyncio.Task[None]) -> None:
    if not watch.cancelled() and (error := watch.exception()):
        # Unwatched, hung replicas would stay and readiness never be told: better to start anew.
        _log.critical("the supervisor cannot watch any more; stopping", exc_info=error)
        os.kill(os.getpid(), signal.SIGTERM)


def run(
    config: ServerConfig, models: Sequence[ServedModel], on_ready: Callable[[Listen], None]
) -> int:
    """Serve with the local engine until SIGTERM or SIGINT; returns the exit code.

    Raises:
        ConfigError: a port is taken or something the roles need is missing.
    """
    import uvloop

    with contextlib.suppress(KeyboardInterrupt):
        return uvloop.run(_run(config, models, on_ready))
    return 0


async def _run(
    config: ServerConfig, models: Sequence[ServedModel], on_ready: Callable[[Listen], None]
) -> int:
    return await Supervisor(config, models, on_ready).run()
