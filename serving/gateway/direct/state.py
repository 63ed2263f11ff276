"""What all connections of one server share. Nothing here knows any kind of connection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from serving.access.decision import Access
from serving.dataplane.handler import DataPlane
from serving.dataplane.hooks.server_durations import ServerDurations
from serving.gateway.body_budget import BodyBudget
from serving.gateway.direct.asgi_call import App
from serving.gateway.direct.backlog import Backlog
from serving.gateway.direct.clock import Clock
from serving.gateway.direct.time_slices import TimeSlices
from serving.protocol.grpc.reader import RequestReader as GrpcReader
from serving.protocol.grpc.writer import ResponseWriter
from serving.protocol.json.reader import RequestReader as JsonReader


class Open(Protocol):
    """A connection as the server sees it."""

    def sweep(self, now: float) -> None:
        """Once a second: end if the client is too slow."""

    def stop(self) -> None:
        """The gateway is about to stop: say so with the next answer."""

    def stopped(self) -> None:
        """Take nothing new, and end after what is under way."""

    def abort(self) -> None:
        """End now."""


class Connections:
    """The connections that are open.

    Attributes:
        open: all of them; each adds and removes itself.
        stopping: whether the gateway is about to stop.
    """

    __slots__ = ("open", "stopping")

    def __init__(self) -> None:
        self.open: set[Open] = set()
        self.stopping = False


@dataclass(frozen=True)
class ServerState:
    """What each connection needs beside its transport; made once, by the server.

    Attributes:
        app: the ASGI app; answers whatever is no plain inference.
        access: decides what a request may ask for.
        plane: answers inference.
        max_body: largest request body in bytes.
        bodies: bytes that all bodies together may have.
        proxies: how many trusted proxies stand in front.
        clock: the time, and limits of slow clients.
        connections: those that are open.
        slices: the loop's turns.
        backlog: requests that wait unread for room in a queue.
        json_requests: reads JSON and binary bodies.
        grpc_requests: reads ModelInfer messages.
        grpc_responses: writes their answers.
        durations: of requests that the app does not see.
    """

    app: App
    access: Access
    plane: DataPlane
    max_body: int
    bodies: BodyBudget
    proxies: int
    clock: Clock
    connections: Connections
    slices: TimeSlices
    backlog: Backlog
    json_requests: JsonReader
    grpc_requests: GrpcReader
    grpc_responses: ResponseWriter
    durations: ServerDurations
