"""One channel connection: the asyncio protocol that both ends share, from hello to goodbye.

Both ends send a hello (version, frame limit, granted slots). Over TCP each then proves that it
knows the cluster's secret by an HMAC over both nonces; a Unix socket is protected by its
directory's mode instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import secrets
import socket
from collections.abc import Callable, Sequence

import msgspec

from serving import errors
from serving.channel import frames
from serving.channel.arena import LARGE, Arena, ArenaOffer, map_offer
from serving.channel.connection_messages import Failure, Hello
from serving.channel.frame_parts import Message, Parts
from serving.channel.frames import FrameError, FrameReader
from serving.channel.progress import Progress, ProgressSheet, decode_offer
from serving.protocol.messages import Tensor

HANDSHAKE_TIMEOUT_S = 5.0
HANDSHAKE_BYTES = 1 << 16
"""Bytes of an unfinished frame that are kept for a peer which has proved nothing yet."""

# A host that dies says no goodbye; without these its connections would live for hours.
KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 2),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 10_000),
)


class ChannelClosed(Exception):
    """The connection is gone; what was asked over it may or may not have been done.

    Attributes:
        begun: whether the peer was at work on it; None where nobody can say.
        busy_s: for how many seconds, if it was.
    """

    def __init__(self, said: str, begun: bool | None = None, busy_s: float = 0.0) -> None:
        super().__init__(said)
        self.begun = begun
        self.busy_s = busy_s


_decode_hello = msgspec.msgpack.Decoder(Hello).decode
_decode_offer = msgspec.msgpack.Decoder(ArenaOffer).decode
_decode_failure = msgspec.msgpack.Decoder(Failure).decode

ReplyCallback = Callable[[Message | Exception], None]
MessageCallback = Callable[["Connection", Message], None]
ClosedCallback = Callable[["Connection"], None]


class Connection:
    """One end of a connection. All methods belong to the loop's thread.

    It is what a transport asks of a protocol, and does not inherit from `asyncio.Protocol`: only a
    class without interpreted bases has quick attributes when it is compiled.

    Args:
        server: whether this end accepted the connection.
        secret: the cluster's secret; None on Unix sockets.
        slots: requests this end takes at once, told to the peer.
        on_message: called with every message that is not a reply.
        on_closed: called once when the connection is gone.
    """

    def __init__(
        self,
        *,
        server: bool,
        secret: bytes | None,
        slots: int,
        on_message: MessageCallback,
        on_closed: ClosedCallback,
    ) -> None:
        self._server = server
        self._secret = secret
        self._on_message = on_message
        self._on_closed = on_closed
        self._reader = FrameReader()
        self._hello = Hello(frames.VERSION, frames.MAX_FRAME, slots, secrets.token_bytes(16))
        self._proved = secret is None
        self._pending: dict[int, ReplyCallback] = {}
        self._next_id = 0
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._watchdog: asyncio.TimerHandle | None = None
        self._arena: Arena | None = None
        self._arena_known: bool | None = None
        """Whether the peer has mapped our arena; None before it was asked."""
        self._blocks: dict[int, list[int]] = {}
        self._placed: list[int] = []
        self._shared: memoryview | None = None
        self._sheet: ProgressSheet | None = None
        self.progress: Progress | None = None
        self.peer: Hello | None = None
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self.closed = False
        self.draining = False

    # -- called by the transport ---------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say hello and give the peer a bounded time to do the same."""
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "writelines")
        self._transport = transport  # type: ignore[assignment]
        if self._secret is not None:
            wire = transport.get_extra_info("socket")
            for level, option, value in KEEPALIVE:
                wire.setsockopt(level, option, value)
        self._write("hello", 0, self._hello)
        self._watchdog = self._loop.call_later(HANDSHAKE_TIMEOUT_S, self.abort)

    def data_received(self, data: bytes) -> None:
        """Cut into frames and hand each on; a malformed one ends the connection."""
        try:
            for frame in self._reader.feed(data):
                self._receive(frames.decode(frame, self._shared))
        except (FrameError, msgspec.DecodeError):
            self.abort()
        if not self.ready.done() and self._reader.waiting > HANDSHAKE_BYTES:
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail everything that waits for a reply."""
        self.closed = True
        if self._watchdog:
            self._watchdog.cancel()
        if not self.ready.done():
            self.ready.set_exception(ChannelClosed("the peer closed during the handshake"))
            self.ready.exception()  # a server end has nobody who awaits it
        self._close_arena()
        pending, self._pending = self._pending, {}
        sheet, self._sheet = self._sheet, None
        for ident, callback in pending.items():
            if sheet is None:
                callback(ChannelClosed("connection lost"))
            else:
                begun = sheet.begun(ident)
                callback(ChannelClosed("connection lost", begun, sheet.busy_s if begun else 0.0))
        if sheet is not None:
            sheet.close()
        self._on_closed(self)

    def eof_received(self) -> bool:
        """The peer has shut its side: the transport closes."""
        return False

    def pause_writing(self) -> None:
        """The peer reads slowly; what is written is kept, and `unsent_bytes` tells of it."""

    def resume_writing(self) -> None:
        """The peer reads again."""

    # -- sending ------------------------------------------------------------------------

    def request(
        self, kind: str, meta: object, tensors: Sequence[Tensor] = ()
    ) -> asyncio.Future[Message]:
        """Send a request; the future holds the reply, a domain error or `ChannelClosed`.

        Raises:
            FrameError: it is too large to be sent.
        """
        future: asyncio.Future[Message] = self._loop.create_future()

        def settle(reply: Message | Exception) -> None:
            if future.done():  # whoever asked has given up
                return
            if isinstance(reply, Exception):
                future.set_exception(reply)
            else:
                future.set_result(reply)

        self.ask(kind, meta, tensors, settle)
        return future

    def ask(
        self, kind: str, meta: object, tensors: Sequence[Tensor | Parts], callback: ReplyCallback
    ) -> None:
        """Send a request; `callback` gets the reply, a domain error or `ChannelClosed`, once.

        It is called in the loop's turn in which the reply arrives, and must not raise.

        Raises:
            FrameError: the request is too large to be sent.
        """
        if self.closed:
            callback(ChannelClosed("connection lost", begun=False))
            return
        large = self._secret is None and _any_large(tensors)
        if large and self._arena_known is None:
            self._offer_arena()
        self._next_id += 1
        if large and self._arena_known:
            self._write_shared(self._next_id, kind, meta, tensors)
        else:
            self._write(kind, self._next_id, meta, tensors)  # may raise: then nothing is pending
        self._pending[self._next_id] = callback

    def notify(self, kind: str, meta: object, tensors: Sequence[Tensor] = ()) -> None:
        """Send a message that has no reply."""
        self._write(kind, 0, meta, tensors)

    def reply(self, ident: int, meta: object, tensors: Sequence[Tensor] = ()) -> None:
        """Answer the request `ident`."""
        self._write("reply", ident, meta, tensors)

    def fail(self, ident: int, error: errors.VigilError) -> None:
        """Answer the request `ident` with a domain error."""
        kind = type(error).__name__
        failure = Failure(kind, error.message, error.retry_after_s, error.cause, error.logged)
        self._write("failure", ident, failure)

    def goaway(self) -> None:
        """Tell the peer to send nothing new; what is under way is finished."""
        self._write("goaway", 0, None)

    @property
    def shares(self) -> bool:
        """Whether large tensors go through shared memory."""
        return bool(self._arena_known)

    @property
    def unsent_bytes(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return self._transport.get_write_buffer_size() if self._transport else 0

    def close(self) -> None:
        """Close once what was written is sent."""
        if self._transport:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport:
            self._transport.abort()

    # -- shared memory ------------------------------------------------------------------

    def _write_shared(
        self, ident: int, kind: str, meta: object, tensors: Sequence[Tensor | Parts]
    ) -> None:
        """Write a request whose large tensors lie in shared memory, as far as there is room."""
        assert self._transport is not None
        self._placed = []
        try:
            buffers = frames.encode(kind, ident, meta, tensors, self._place)
        except Exception:  # whatever it was, no block may stay taken
            self._release(self._placed)
            raise
        self._blocks[ident] = self._placed
        self._transport.writelines(buffers)

    def receive_buffer(self, size: int, skip: int) -> memoryview | None:
        """Return shared memory for bytes to come, if there is; see `Arena.receive_buffer`."""
        return self._arena.receive_buffer(size, skip) if self._arena_known and self._arena else None

    def _place(self, pieces: Sequence[memoryview], size: int) -> int:
        assert self._arena is not None
        if len(pieces) == 1 and (at := self._arena.find(pieces[0])) >= 0:
            return at  # it has landed there, and is taken as long as whoever asks refers to it
        at = self._arena.put(pieces, size)
        if at >= 0:
            self._placed.append(at)
        return at

    def _release(self, blocks: list[int]) -> None:
        for at in blocks:
            if self._arena is not None:
                self._arena.release(at)

    def _offer_arena(self) -> None:
        """Offer memory to the peer; until it has agreed, everything goes through the socket."""
        self._arena_known = False
        try:
            self._arena = Arena()
        except OSError:
            return
        self._next_id += 1
        self._pending[self._next_id] = self._arena_answered
        self._write("arena", self._next_id, self._arena.offer)

    def _arena_answered(self, reply: Message | Exception) -> None:
        self._arena_known = not isinstance(reply, Exception)
        if not self._arena_known:
            self._close_arena()

    def _close_arena(self) -> None:
        self._arena_known = False
        self._blocks.clear()
        if self._arena is not None:
            self._arena.close()
            self._arena = None

    def _map_arena(self, message: Message) -> None:
        try:
            self._shared = map_offer(_decode_offer(message.meta))
        except (OSError, ValueError) as error:
            self.fail(message.id, errors.Unsupported(f"no shared memory: {error}"))
        else:
            self.reply(message.id, None)

    # -- progress -----------------------------------------------------------------------

    def follow_progress(self) -> None:
        """Have the peer note what it works on, so that `ChannelClosed` can tell; Unix sockets only.

        A peer that cannot reach the memory leaves it as it is.
        """
        if self._secret is None and self._sheet is None and not self.closed:
            with contextlib.suppress(OSError):
                self._sheet = ProgressSheet()
                self.notify("progress", self._sheet.offer)

    def _take_sheet(self, message: Message) -> None:
        with contextlib.suppress(OSError, ValueError):
            self.progress = Progress(decode_offer(message.meta))

    def _write(
        self, kind: str, ident: int, meta: object, tensors: Sequence[Tensor | Parts] = ()
    ) -> None:
        if not self.closed and self._transport:
            self._transport.writelines(frames.encode(kind, ident, meta, tensors))

    # -- receiving ----------------------------------------------------------------------

    def _receive(self, message: Message) -> None:
        if not self.ready.done():
            self._handshake(message)
        elif message.kind == "reply":
            callback = self._answered(message.id)
            if callback:
                callback(message)
        elif message.kind == "failure":
            callback = self._answered(message.id)
            if callback:
                callback(_domain_error(_decode_failure(message.meta)))
        elif message.kind == "goaway":
            self.draining = True
        elif message.kind == "arena" and self._secret is None:
            self._map_arena(message)
        elif message.kind == "progress" and self._secret is None:
            self._take_sheet(message)
        else:
            self._on_message(self, message)

    def _answered(self, ident: int) -> ReplyCallback | None:
        if self._blocks:
            blocks = self._blocks.pop(ident, None)
            if blocks is not None:
                self._release(blocks)
        return self._pending.pop(ident, None)

    def _handshake(self, message: Message) -> None:
        if message.kind == "hello" and self.peer is None:
            self.peer = _decode_hello(message.meta)
            if self.peer.version != frames.VERSION:
                raise FrameError(f"peer speaks version {self.peer.version}")
            if self._secret is not None:
                self._write("proof", 0, self._proof(self._server))
        elif message.kind == "proof" and self.peer and self._secret is not None:
            proof = msgspec.msgpack.decode(message.meta, type=bytes)
            if not hmac.compare_digest(proof, self._proof(not self._server)):
                raise FrameError("the peer does not know the secret")
            self._proved = True
        else:
            raise FrameError(f"'{message.kind}' during the handshake")
        if self.peer and self._proved:
            if self._watchdog:
                self._watchdog.cancel()
            self.ready.set_result(None)

    def _proof(self, by_server: bool) -> bytes:
        # Both nonces and the side are in it, so that a proof can be neither replayed nor
        # reflected.
        assert self._secret is not None
        assert self.peer is not None
        mine, theirs = self._hello.nonce, self.peer.nonce
        nonces = mine + theirs if self._server else theirs + mine
        side = b"server" if by_server else b"client"
        return hmac.new(self._secret, side + nonces, hashlib.sha256).digest()


def _any_large(tensors: Sequence[Tensor | Parts]) -> bool:
    for tensor in tensors:  # noqa: SIM110 - for one small tensor quicker than a generator
        if type(tensor) is Parts or tensor.data.nbytes >= LARGE:
            return True
    return False


def _domain_error(failure: Failure) -> errors.VigilError:
    error = errors.named(failure.error, failure.message, failure.retry_after_s, failure.cause)
    error.logged = failure.logged
    return error
