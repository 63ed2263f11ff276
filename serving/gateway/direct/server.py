"""The direct ingress: listens on both ports, in the loop of the gateway process itself."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path
from typing import Any, Final

from serving.config import Listen
from serving.dataplane.handler import DataPlane
from serving.gateway.asgi import VigilApp
from serving.gateway.direct.backlog import Backlog
from serving.gateway.direct.clock import Clock
from serving.gateway.direct.connection import LingeringClose
from serving.gateway.direct.http1.shapes import Shapes
from serving.gateway.direct.http2.shapes import Shapes2
from serving.gateway.direct.limits import Limits
from serving.gateway.direct.protocol_detection import NewConnection
from serving.gateway.direct.state import Connections, Open, ServerState
from serving.gateway.direct.time_slices import TimeSlices
from serving.protocol.grpc import reader as grpc_reader
from serving.protocol.grpc.writer import ResponseWriter
from serving.protocol.json import reader as json_reader
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report
from serving.upkeep.periodic import Periodic

LINGER_S: Final = 0.3
ACCEPTING_TURNS: Final = 4
"""Turns of the loop after which whoever was accepted when the listeners closed is known."""
BACKLOG: Final = 2048


_LIMITS: Final = Limits()


class DirectServer:
    """Both ports of one gateway process.

    Args:
        app: the ASGI app, started already.
        plane: the app's data plane.
        listen: addresses; several processes share the ports.
        max_body: largest request body in bytes.
        limits: what clients may take.
    """

    def __init__(
        self,
        app: VigilApp,
        plane: DataPlane,
        listen: Listen,
        max_body: int,
        limits: Limits = _LIMITS,
    ) -> None:
        slices = TimeSlices(lambda turn: asyncio.get_running_loop().call_soon(turn))
        self.state = ServerState(
            app=app,
            access=app.access,
            plane=plane,
            max_body=max_body,
            bodies=app.bodies,
            proxies=listen.trusted_proxies,
            clock=Clock(limits),
            connections=Connections(),
            slices=slices,
            backlog=Backlog(plane, slices),
            json_requests=json_reader.RequestReader(),
            grpc_requests=grpc_reader.RequestReader(),
            grpc_responses=ResponseWriter(),
            durations=plane.durations,
        )
        self.shapes = Shapes(app.access.web, cors=app.cors is not None)
        self.shapes2 = Shapes2(app.access.web)
        self._listen = listen
        self._servers: list[asyncio.Server] = []
        self._sweeping = Periodic(limits.sweep_s, self._sweep)

    @property
    def connections(self) -> set[Open]:
        """Those that are open."""
        return self.state.connections.open

    def _new_connection(self) -> NewConnection:
        return NewConnection(self.state, self.shapes, self.shapes2)

    async def start(self, private: Path) -> list[int]:
        """Listen on both ports, and on a Unix socket of this process alone; return the ports."""
        self._sweep()
        self._sweeping.start()
        loop = asyncio.get_running_loop()
        for port in (self._listen.http_port, self._listen.grpc_port):
            listener = _bind(self._listen.host, port)
            server = await loop.create_server(self._new_connection, sock=listener, backlog=BACKLOG)
            self._servers.append(server)
        # Its folder is private; what a gateway that was killed left there is replaced.
        server = await loop.create_unix_server(self._new_connection, str(private))
        self._servers.append(server)
        return [_port(server) for server in self._servers[:2]]

    async def drain(self, timeout_s: float) -> bool:
        """Take nothing new and answer what is under way; whether all of it was answered."""
        self.state.connections.stopping = True
        for server in self._servers:
            server.close()
        for connection in list(self.connections):
            connection.stop()
        for _ in range(ACCEPTING_TURNS):
            await asyncio.sleep(0)
        # Who is about to send a request on a connection that lies idle shall get an answer that
        # says it was the last, and not a reset. Without a connection there is nobody to wait for.
        if self.connections:
            await asyncio.sleep(min(LINGER_S, timeout_s / 4))
        for connection in list(self.connections):
            connection.stopped()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self.connections:  # noqa: ASYNC110 - for one moment, at the end
                    await asyncio.sleep(0.01)
        # Who has its last answer and does not hang up has lost nothing.
        drained = all(isinstance(connection, LingeringClose) for connection in self.connections)
        for connection in list(self.connections):
            connection.abort()
        self._sweeping.stop()
        return drained

    def _sweep(self) -> None:
        """Once a second: the time, the date, and connections that are too slow."""
        clock = self.state.clock
        clock.tick()
        for connection in list(self.connections):
            try:
                connection.sweep(clock.now)
            except Exception as error:  # noqa: BLE001 - the others must be looked at all the same
                report(Event.INTERNAL_ERROR, "a connection could not be swept", error=error)
                connection.abort()


def _port(server: Any) -> int:
    # Not typed: compiled code checks types, and uvloop has a list where asyncio has a tuple.
    port: int = server.sockets[0].getsockname()[1]
    return port


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind((host, port))
    listener.setblocking(False)
    return listener
