"""The asynchronous gRPC carrier: one connection for all calls, made again when it is gone.

It stands in for gRPC's own asynchronous client, which hands every call to threads of its own and
back, and with few calls under way takes longer for that than the server for the answer.
"""

from __future__ import annotations

import asyncio
from typing import Final
from weakref import WeakSet

from serving.errors import Unreachable, VigilError
from serving.http2.frames import literal
from serving.remote.access import Access
from serving.remote.address import Address
from serving.remote.connecting import Patience, connect, tls_context
from serving.remote.failures import of_grpc, too_late, unreachable
from serving.remote.grpc.call import GrpcCall, Lost
from serving.remote.grpc.connection import GrpcConnection
from serving.remote.grpc.heads import Refused, request_block
from serving.remote.wire import Answer, Answered, UpstreamCall

_KEPT_BLOCKS: Final = 64


class GrpcCarrier:
    """Sends gRPC calls; see `AsyncCarrier`.

    Args:
        address: where the server listens; it need not be there yet.
        access: what it asks of its callers.
    """

    def __init__(self, address: Address, access: Access) -> None:
        self._address = address
        self._access = access
        self._context = tls_context(address, access, "h2")
        self._loop = asyncio.get_running_loop()
        self._patience = Patience()
        self._connection: GrpcConnection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._old: WeakSet[GrpcConnection] = WeakSet()
        self._waiting: list[GrpcCall] = []
        self._blocks: dict[object, bytes] = {}
        self._closed = False

    def ask(self, call: UpstreamCall, timeout_s: float, callback: Answered) -> GrpcCall:
        """Send `call`; see `AsyncCarrier.ask`."""

        def answered(outcome: bytes | Exception) -> None:
            if isinstance(outcome, bytes):
                callback(Answer(outcome))
            else:
                callback(self._error(outcome, timeout_s))

        block = self._block(call.path, timeout_s)
        for name, value in call.headers.items():
            # Different each time, so of no use in anybody's table.
            block += literal(name.encode(), value.encode())
        made = GrpcCall(block, call.body or b"", answered)
        made.timer = self._loop.call_later(timeout_s, _late, made)
        self._submit(made)
        return made

    async def alive(self) -> bool:
        """Whether the server can be reached; connects if need be."""
        if self._connection is None and self._patience.failure() is None:
            await asyncio.wait([self._connect()])
        return self._connection is not None

    async def close(self) -> None:
        """Close the connection."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        for connection in (self._connection, *self._old):
            if connection is not None:
                connection.close()

    def _block(self, path: str, timeout_s: float) -> bytes:
        metadata = self._access.headers()
        key = (path, timeout_s, *metadata.items())
        block = self._blocks.get(key)
        if block is None:
            if len(self._blocks) >= _KEPT_BLOCKS:
                self._blocks.clear()
            block = self._blocks[key] = request_block(
                path, self._address.netloc, timeout_s, metadata, tls=self._address.tls
            )
        return block

    def _submit(self, call: GrpcCall) -> None:
        if self._connection is not None:
            self._connection.start(call)
        elif (failure := self._patience.failure()) is not None:
            call.settle(failure)
        elif self._closed:
            call.settle(Lost())
        else:
            self._waiting.append(call)
            self._connect()

    def _connect(self) -> asyncio.Task[None]:
        if self._connecting is None:
            self._connecting = self._loop.create_task(self._open())
        return self._connecting

    async def _open(self) -> None:
        try:
            connection = await connect(self._address, self._context, self._make)
        except Unreachable as error:
            self._patience.failed(error)
            outcome: Exception = error
        except asyncio.CancelledError:
            outcome = Lost()
        else:
            if connection.open:  # else it is gone already, and has told us so
                self._connection = connection
            self._patience.reached()
            outcome = Lost()
        self._connecting = None
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            if self._connection is None:
                call.settle(outcome)
            elif not call.done:
                self._submit(call)

    def _make(self) -> GrpcConnection:
        return GrpcConnection(self._submit, self._retired)

    def _retired(self, connection: GrpcConnection) -> None:
        if self._connection is connection:
            self._connection = None
            self._old.add(connection)

    def _error(self, outcome: Exception, timeout_s: float) -> VigilError:
        if isinstance(outcome, VigilError):
            return outcome
        if not isinstance(outcome, Refused):
            return unreachable(self._address.url)
        if outcome.code == "DEADLINE_EXCEEDED":
            return too_late(self._address.url, timeout_s)
        return of_grpc(outcome.code, outcome.details)


def _late(call: GrpcCall) -> None:
    if not call.done:
        if call.connection is not None:
            call.connection.abandon(call)
        call.settle(Refused("DEADLINE_EXCEEDED", ""))
