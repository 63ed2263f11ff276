"""A client's HTTP/1.1 connection: one request at a time, kept for the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import httptools

from serving.remote.packed import MOST, unpacked

_LENGTH: Final = b"inference-header-content-length"


class HungUp(Exception):
    """The connection ended before the answer did.

    Attributes:
        unseen: it had been used before, and nothing of the answer has come: the server closed
            it when the request was on its way, as servers do with idle connections.
    """

    def __init__(self, *, unseen: bool) -> None:
        super().__init__("it hung up")
        self.unseen = unseen


class Unreadable(Exception):
    """What came is no answer that can be read; says why."""


class Response:
    """An answer: its status, its body, and the value of Inference-Header-Content-Length."""

    __slots__ = ("body", "length", "status")

    def __init__(self, status: int, body: bytes, length: str | None) -> None:
        self.status = status
        self.body = body
        self.length = length


class HttpConnection(asyncio.Protocol):
    """One connection. All methods belong to the loop's thread.

    Args:
        on_idle: called when it can take the next request.
    """

    def __init__(self, on_idle: Callable[[HttpConnection], None]) -> None:
        self._on_idle = on_idle
        self._transport: asyncio.Transport | None = None
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.closed = False
        self.idle_since = 0.0
        self._used = False
        self._callback: Callable[[Response | Exception], None] | None = None
        self._begin()

    def _begin(self) -> None:
        self._parser: Any = httptools.HttpResponseParser(self)
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._size = 0
        self._told = False
        self._head_whole = self._whole = False
        self._keep = False

    def send(self, buffers: list[bytes], callback: Callable[[Response | Exception], None]) -> None:
        """Send a request; `callback` gets the answer, `HungUp` or `Unreadable`, once."""
        assert self._callback is None
        self._callback = callback
        if self.closed or self._transport is None:
            self._settle(HungUp(unseen=self._used))
        else:
            self._transport.writelines(buffers)

    def abandon(self) -> None:
        """Nobody waits for the answer any more; the connection cannot be used again."""
        self._callback = None
        self.close()

    def close(self) -> None:
        """Close at once."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    def _settle(self, outcome: Response | Exception) -> None:
        callback, self._callback = self._callback, None
        if callback is not None:
            callback(outcome)

    # -- asyncio.Protocol ---------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Nothing has to be said before the first request."""
        self._transport = transport  # type: ignore[assignment]
        self.ready.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Take a piece of the answer."""
        if self._callback is None:  # nobody has asked
            self.close()
            return
        self._told = True
        try:
            self._parser.feed_data(data)
            if self._whole:
                self._answered()
        except Unreadable as error:
            self.close()
            self._settle(error)
        except httptools.HttpParserError as error:
            why = error.__context__ if isinstance(error.__context__, Unreadable) else None
            self.close()
            self._settle(why or Unreadable(f"it does not answer in HTTP: {error}"))
        except httptools.HttpParserUpgrade:  # no HttpParserError, and nobody asked for it
            self.close()
            self._settle(Unreadable("it does not answer in HTTP: it switches to another protocol"))

    def connection_lost(self, exc: Exception | None) -> None:
        """The answer may end here, or have been lost."""
        self.closed = True
        if self._callback is None:
            return
        if exc is None and self._until_closed():
            try:
                self._answered()
            except Unreadable as error:
                self._settle(error)
        else:
            self._settle(HungUp(unseen=self._used and not self._told))

    def _until_closed(self) -> bool:
        """Whether the headers are here, and the body lasts as long as the connection."""
        framed = b"content-length" in self._headers or b"transfer-encoding" in self._headers
        return self._head_whole and not framed

    def _answered(self) -> None:
        status = self._parser.get_status_code()
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        encoding = self._headers.get(b"content-encoding", b"identity").decode("latin-1").lower()
        length = self._headers.get(_LENGTH)
        keep = self._keep and not self.closed
        if encoding != "identity" and body:
            try:
                body = unpacked(body, encoding)
            except ValueError as error:
                raise Unreadable(str(error)) from None
        callback, self._callback = self._callback, None
        self._used = True
        if keep:
            self._begin()
            self._on_idle(self)
        else:
            self.close()
        assert callback is not None
        callback(Response(status, body, None if length is None else length.decode("latin-1")))

    # -- httptools ----------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A second answer to one request is none."""
        if self._whole:
            raise Unreadable("it answered twice")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header."""
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """What follows is the body."""
        self._head_whole = True

    def on_body(self, data: bytes) -> None:
        """Keep a piece of the body."""
        self._size += len(data)
        if self._size > MOST:
            raise Unreadable(f"its answer is over {MOST} bytes")
        self._body.append(data)

    def on_message_complete(self) -> None:
        """An answer is whole, or announces the real one."""
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            self._headers.clear()
            self._head_whole = False
            return
        self._whole = True
        self._keep = self._parser.should_keep_alive()
