"""The admin listener: serves the pages."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn

from serving.admin.pages import Pages
from serving.config import ConfigError, ServerConfig
from serving.control.commands import Commands
from serving.control.cost.costs import Costs
from serving.control.exports import Exports
from serving.control.history import History
from serving.control.registry import Registry
from serving.incidents.service import IncidentService


class AdminServer:
    """Hosts the admin listener of `registry` in the running loop; leaves signals alone.

    Args:
        registry: the instance.
        config: says where to listen and which way metrics go.
        commands: takes orders; None for a listener that only answers questions.
        incidents: answers for incidents; None for a listener without any.

    Attributes:
        port: where it listens; once started also when the configuration says 0.
    """

    def __init__(
        self,
        registry: Registry,
        config: ServerConfig,
        commands: Commands | None = None,
        incidents: IncidentService | None = None,
    ) -> None:
        self._registry = registry
        self._commands = commands
        self._incidents = incidents
        self._config = config
        self._history = History()
        self.port = config.listen.admin_port
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self._costs = Costs(registry, config)
        self._exports = Exports(registry, config, self._history, self._costs)

    async def start(self) -> None:
        """Listen; returns once requests are answered.

        Raises:
            ConfigError: the address cannot be listened on.
        """
        listening = _bind(self._config.listen.admin_host, self._config.listen.admin_port)
        self.port = listening.getsockname()[1]
        self._server = _Server(
            uvicorn.Config(
                Pages(
                    self._registry,
                    self._config,
                    self._history,
                    self._commands,
                    self._costs,
                    self._incidents,
                ).app(),
                log_config=None,
                access_log=False,
                lifespan="off",
                ws="none",
                server_header=False,
                timeout_graceful_shutdown=1,
            )
        )
        serving = self._server.serve(sockets=[listening])
        self._serving = asyncio.get_running_loop().create_task(serving)
        await self._server.up.wait()
        self._exports.start()

    async def stop(self) -> None:
        """Export once more, answer what is under way, and close; bounded to a few seconds."""
        if self._server is None:
            return
        self._server.should_exit = True
        await self._exports.stop()
        if self._serving:
            await asyncio.gather(self._serving, return_exceptions=True)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start and tell whoever waits for it."""
        await super().startup(sockets)
        self.up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the process that hosts the listener."""
        yield


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigError(
            f"listen: the admin listener cannot use {host}:{port} ({error.strerror}); "
            "give another admin_port"
        ) from None
