"""The asynchronous HTTP carrier: a pool of connections that are kept between requests.

httpx, which stands for all that HTTP can be, takes a millisecond for a request; this one takes less
than a tenth of that, for the little that is asked of servers of the protocol.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final
from weakref import WeakSet

from serving.errors import ModelNotReady, Unreachable, VigilError
from serving.remote.access import Access
from serving.remote.address import Address
from serving.remote.connecting import Patience, connect, tls_context
from serving.remote.failures import too_late, unreachable
from serving.remote.http.answers import whole_answer
from serving.remote.http.connection import HttpConnection, HungUp, Response, Unreadable
from serving.remote.pending import awaited
from serving.remote.wire import Answer, Answered, UpstreamCall, unreadable

# Many servers close what has lain idle for five seconds. A request that is sent at that moment is
# lost, so connections are given up well before.
_IDLE_S: Final = 2.0
_KEPT: Final = 256
_LIVE: Final = UpstreamCall("/v2/health/live")
_LIVE_S: Final = 5.0


class Exchange:
    """A request on its way to an answer."""

    __slots__ = ("again", "buffers", "callback", "connection", "done", "timer")

    def __init__(
        self, buffers: list[bytes], callback: Callable[[Response | Exception], None]
    ) -> None:
        self.buffers = buffers
        self.callback = callback
        self.connection: HttpConnection | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.again = False
        self.done = False

    def settle(self, outcome: Response | Exception) -> None:
        """Tell how it ended; only the first end counts."""
        if not self.done:
            self._end()
            self.callback(outcome)

    def cancel(self) -> None:
        """Give it up: nobody is told any more."""
        if not self.done:
            self._end()
            if self.connection is not None:
                self.connection.abandon()

    def late(self) -> None:
        """The time is up."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.abandon()
        self.settle(TimeoutError())

    def _end(self) -> None:
        self.done = True
        if self.timer is not None:
            self.timer.cancel()


class HttpCarrier:
    """Sends HTTP requests; see `AsyncCarrier`.

    Args:
        address: where the server listens; it need not be there yet.
        access: what it asks of its callers.
    """

    def __init__(self, address: Address, access: Access) -> None:
        self._address = address
        self._access = access
        self._context = tls_context(address, access, "http/1.1")
        self._loop = asyncio.get_running_loop()
        self._patience = Patience()
        self._idle: list[HttpConnection] = []
        self._all: WeakSet[HttpConnection] = WeakSet()
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, call: UpstreamCall, timeout_s: float, callback: Answered) -> Exchange:
        """Send `call`; see `AsyncCarrier.ask`."""

        def answered(outcome: Response | Exception) -> None:
            try:
                told: Answer | VigilError = _answer(outcome)
            except VigilError as error:
                told = error
            except (HungUp, TimeoutError, Unreadable) as error:
                told = self._error(error, timeout_s)
            callback(told)

        made = Exchange(self._request(call), answered)
        made.timer = self._loop.call_later(timeout_s, made.late)
        self._submit(made, fresh=False)
        return made

    async def alive(self) -> bool:
        """Whether the server can be reached; asks it."""

        def ask(callback: Answered) -> Exchange:
            return self.ask(_LIVE, _LIVE_S, callback)

        try:
            await awaited(ask)
        except Unreachable:
            return False
        except VigilError:
            return True  # busy, perhaps: requests will tell
        return True

    async def close(self) -> None:
        """Close every connection."""
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for connection in list(self._all):
            connection.close()

    def _request(self, call: UpstreamCall) -> list[bytes]:
        headers = {**call.headers, **self._access.headers()}
        method = "GET" if call.body is None else "POST"
        lines = [
            f"{method} {call.path} HTTP/1.1",
            f"host: {self._address.netloc}",
            "user-agent: vigil",
            "accept: */*",
            "accept-encoding: identity",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        if call.body is not None:
            lines.append(f"content-length: {len(call.body)}")
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        return [head, call.body] if call.body else [head]

    def _submit(self, exchange: Exchange, *, fresh: bool) -> None:
        now = self._loop.time()
        while self._idle and not fresh:
            connection = self._idle.pop()
            if connection.closed or now - connection.idle_since > _IDLE_S:
                connection.close()
                continue
            self._send(exchange, connection)
            return
        if (failure := self._patience.failure()) is not None:
            exchange.settle(failure)
            return
        task = self._loop.create_task(self._open_for(exchange))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _open_for(self, exchange: Exchange) -> None:
        try:
            connection = await connect(self._address, self._context, self._make)
        except Unreachable as error:
            self._patience.failed(error)
            exchange.settle(error)
        except asyncio.CancelledError:
            exchange.settle(unreachable(self._address.url))
        else:
            self._patience.reached()
            self._all.add(connection)
            if exchange.done:
                self._keep(connection)
            else:
                self._send(exchange, connection)

    def _send(self, exchange: Exchange, connection: HttpConnection) -> None:
        def answered(outcome: Response | Exception) -> None:
            exchange.connection = None
            # The server had closed a connection that lay idle, and has not seen the request.
            if isinstance(outcome, HungUp) and outcome.unseen and not exchange.again:
                exchange.again = True
                self._submit(exchange, fresh=True)
            else:
                exchange.settle(outcome)

        exchange.connection = connection
        connection.send(exchange.buffers, answered)

    def _make(self) -> HttpConnection:
        return HttpConnection(self._keep)

    def _keep(self, connection: HttpConnection) -> None:
        connection.idle_since = self._loop.time()
        self._idle.append(connection)
        while self._idle and (
            len(self._idle) > _KEPT or connection.idle_since - self._idle[0].idle_since > _IDLE_S
        ):
            self._idle.pop(0).close()

    def _error(self, error: Exception, timeout_s: float) -> VigilError:
        url = self._address.url
        if isinstance(error, TimeoutError):
            return too_late(url, timeout_s)
        if isinstance(error, Unreadable):
            return unreadable("answer", error)
        # It closed the connection: the next request finds out whether it is still there.
        return ModelNotReady(f"the upstream server {url} hung up; retry", retry_after_s=1)


def _answer(outcome: Response | Exception) -> Answer:
    """Return the answer of a server that has given one.

    Raises:
        VigilError: it has refused.
    """
    if isinstance(outcome, Exception):
        raise outcome
    return whole_answer(outcome.status, outcome.body, outcome.length)
