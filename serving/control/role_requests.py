"""What roles ask the control plane and wait for: orders of clients, and explainers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from serving.channel.connection import Connection
from serving.channel.frame_parts import Message
from serving.channel.messages.control import CONTROL, EXPLAINER, ExplainerMeta
from serving.channel.messages.incidents import (
    INCIDENT,
    INCIDENTS,
    IncidentOrder,
    IncidentQuery,
)
from serving.control.explainers import Explainers
from serving.errors import ModelFailed, Unsupported, VigilError
from serving.protocol.repository import ControlMeta
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report

_decode_control = msgspec.msgpack.Decoder(ControlMeta).decode
_decode_query = msgspec.msgpack.Decoder(IncidentQuery).decode
_decode_order = msgspec.msgpack.Decoder(IncidentOrder).decode
_decode_explainer = msgspec.msgpack.Decoder(ExplainerMeta).decode


class RoleRequests:
    """Answers requests, each in a task of its own: some take as long as loading a model.

    Args:
        explainers: starts those that are asked for.

    Attributes:
        on_control: carries out a client's order; None where nobody takes any.
        on_incidents, on_incident: answer what clients ask and order about incidents; likewise.
    """

    def __init__(self, explainers: Explainers) -> None:
        self._explainers = explainers
        self.on_control: Callable[[ControlMeta], Awaitable[object]] | None = None
        self.on_incidents: Callable[[IncidentQuery], Awaitable[object]] | None = None
        self.on_incident: Callable[[IncidentOrder], Awaitable[object]] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, connection: Connection, message: Message) -> None:
        """Answer a request over the connection that it came by."""
        task = asyncio.get_running_loop().create_task(self._answer(connection, message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def stop(self) -> None:
        """Answer nothing any more."""
        for task in self._tasks:
            task.cancel()

    async def _answer(self, connection: Connection, message: Message) -> None:
        try:
            connection.reply(message.id, await self._reply(message))
        except VigilError as error:
            connection.fail(message.id, error)
        except Exception as error:  # noqa: BLE001 - the peer must get an answer whatever it was
            said = f"the control plane failed to answer '{message.kind[:40]}'"
            report(Event.INTERNAL_ERROR, said, error=error)
            connection.fail(message.id, ModelFailed("internal error; see the server's log"))

    async def _reply(self, message: Message) -> object:
        if message.kind == EXPLAINER:
            await self._explainers.wanted(_decode_explainer(message.meta))
            return None
        if message.kind == CONTROL and self.on_control is not None:
            return await self.on_control(_decode_control(message.meta))
        if message.kind == INCIDENTS and self.on_incidents is not None:
            return msgspec.json.encode(await self.on_incidents(_decode_query(message.meta)))
        if message.kind == INCIDENT and self.on_incident is not None:
            return msgspec.json.encode(await self.on_incident(_decode_order(message.meta)))
        raise Unsupported(f"this control plane does not answer '{message.kind[:40]}'")
