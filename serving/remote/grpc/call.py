"""One unary gRPC call: its message on the way out, and its answer as it comes in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from serving.remote.grpc.heads import AnswerHead, Refused, refused_by
from serving.remote.packed import MOST, unpacked

_PREFIX: Final = 5


class Lost(Exception):
    """The connection is gone; what was asked may or may not have been done."""


class Carrier(Protocol):
    """The connection of a call, as far as a call needs it."""

    def abandon(self, call: GrpcCall, /) -> None:
        """Stop a call that nobody waits for."""


class GrpcCall:
    """A call; `callback` gets its answer's message, `Refused` or `Lost`, once.

    Attributes:
        block: the request's headers.
        ident: number of its stream; 0 before it has one.
        left: bytes of the message, prefix included, that are not sent yet.
        window: what the peer still takes on the stream.
        again: it was refused before it was looked at, and sent again.
        done: `callback` has been called.
    """

    __slots__ = (
        "_at",
        "_encoding",
        "_message_out",
        "_packed",
        "_pieces",
        "_prefix",
        "_received",
        "_size",
        "_started",
        "again",
        "block",
        "callback",
        "connection",
        "done",
        "ident",
        "left",
        "timer",
        "window",
    )  # fmt: skip

    def __init__(
        self, block: bytes, message: bytes, callback: Callable[[bytes | Exception], None]
    ) -> None:
        self.block = block
        self.callback = callback
        self.timer: asyncio.TimerHandle | None = None
        self.connection: Carrier | None = None
        self.done = False
        self.again = False
        self._prefix = b"\x00" + len(message).to_bytes(4, "big")
        self._message_out = message
        self.rewind()

    def rewind(self) -> None:
        """Begin again, on another stream."""
        self.ident = 0
        self.window = 0
        self.left = _PREFIX + len(self._message_out)
        self._at = 0
        self._pieces: list[bytes | memoryview] = []
        self._received = 0
        self._size = -1
        self._encoding = ""
        self._packed = False
        self._started = False

    def settle(self, outcome: bytes | Exception) -> None:
        """Tell how it ended; only the first end counts."""
        if not self.done:
            self.done = True
            if self.timer is not None:
                self.timer.cancel()
            self.callback(outcome)

    def cancel(self) -> None:
        """Give it up: nobody is told any more, and the server may stop working on it."""
        if not self.done:
            self.done = True
            if self.timer is not None:
                self.timer.cancel()
            if self.connection is not None:
                self.connection.abandon(self)

    # -- the way out --------------------------------------------------------------------

    def take(self, size: int) -> list[bytes | memoryview]:
        """Return the next `size` bytes of what is to be sent; what is large is not copied."""
        at = self._at
        self._at += size
        self.left -= size
        if at >= _PREFIX:
            return [memoryview(self._message_out)[at - _PREFIX : at - _PREFIX + size]]
        head = self._prefix[at : at + size]
        rest = size - len(head)
        if rest == len(self._message_out):
            return [head, self._message_out]
        return [head, memoryview(self._message_out)[:rest]] if rest else [head]

    # -- the way back -------------------------------------------------------------------

    def headers(self, head: AnswerHead, *, end: bool) -> bytes | None:
        """Take headers or trailers; returns the message at the end.

        Raises:
            Refused: there is none.
        """
        if head.information and not end:
            return None
        if head.refused:
            raise Refused(head.refused, head.details)
        if not end:
            if self._started:
                raise Refused("INTERNAL", "it sent headers twice")
            self._started = True
            self._encoding = head.encoding
            return None
        if head.status:
            if head.status < 0:
                raise Refused("UNKNOWN", "it ended the call without a status")
            raise refused_by(head.status, head.details)
        return self._message()

    def data(self, piece: bytes | memoryview) -> None:
        """Take a piece of the answer.

        Raises:
            Refused: it is too large, or not one message.
        """
        if self._size < 0:
            if self._pieces:
                piece = bytes(self._pieces.pop()) + piece
            if len(piece) < _PREFIX:
                self._pieces.append(piece)
                return
            self._packed = bool(piece[0])
            self._size = int.from_bytes(piece[1:_PREFIX], "big")
            if self._size > MOST:
                raise Refused("INTERNAL", f"its answer of {self._size} bytes is over {MOST}")
            piece = piece[_PREFIX:]
        self._received += len(piece)
        if self._received > self._size:
            raise Refused("INTERNAL", "it answered with more than one message")
        self._pieces.append(piece)

    def _message(self) -> bytes:
        if self._received != self._size:
            raise Refused("INTERNAL", "it ended its answer before the message was whole")
        pieces, self._pieces = self._pieces, []
        first = pieces[0]
        whole = first if len(pieces) == 1 and type(first) is bytes else b"".join(pieces)
        if not self._packed:
            return whole
        try:
            return unpacked(whole, self._encoding)
        except ValueError as error:
            raise Refused("INTERNAL", str(error)) from None
