"""The streams of an HTTP/2 connection that are open, and their ends."""

from __future__ import annotations

from collections.abc import Callable

from serving.gateway.direct.http2.call import Call
from serving.gateway.direct.http2.closed import ClosedStreams
from serving.gateway.direct.http2.intake import Intake
from serving.gateway.direct.http2.sender import Sender
from serving.gateway.direct.http2.streams import AppStream
from serving.gateway.direct.state import ServerState
from serving.http2 import frames as f


class OpenStreams:
    """The open streams of one connection.

    Args:
        state: what all connections share.
        sender: writes their answers.
        intake: bounds their bodies.
        emptied: called when the last one has ended.

    Attributes:
        by_number: the streams.
        closed: tells of those that are not open any more.
        last: the number of the client's last stream.
    """

    def __init__(
        self, state: ServerState, sender: Sender, intake: Intake, emptied: Callable[[], None]
    ) -> None:
        self._state = state
        self._sender = sender
        self._intake = intake
        self._emptied = emptied
        self.by_number: dict[int, Call | AppStream] = {}
        self.closed = ClosedStreams()
        self.last = 0

    def is_idle(self, ident: int) -> bool:
        """Whether no stream of that number was ever opened, or could have been by a client."""
        return ident > self.last or not ident & 1

    # -- answers ------------------------------------------------------------------------

    def flush(self, stream: Call | AppStream) -> None:
        """Write what waits on a stream, as far as the client has made room."""
        if self._sender.flush(stream):
            self.forget(stream)

    def flush_blocked(self) -> None:
        """Write what waits for room on the connection."""
        sender = self._sender
        for stream in list(sender.blocked.values()):
            if sender.room <= 0 or sender.stalled:
                return
            self.flush(stream)

    def set_window(self, value: int) -> None:
        """Follow a new initial window of the client's settings.

        Raises:
            ProtocolError: a window becomes larger than the protocol allows.
        """
        more = value - self._sender.initial
        self._sender.initial = value
        for stream in list(self.by_number.values()):
            stream.window += more
            if stream.window > f.LARGEST_WINDOW:
                raise f.ProtocolError(f.FLOW_CONTROL_ERROR, "a stream's window is too large")
            if more > 0 and stream.waiting:
                self.flush(stream)

    # -- what the app says of its streams -----------------------------------------------

    def consumed(self, stream: AppStream, size: int) -> None:
        """The app has taken `size` bytes of a stream's body."""
        self._intake.consumed(stream, size)

    def answered(self, stream: AppStream) -> None:
        """The answer begins: the body is not needed any more, however slowly that is read."""
        self._state.bodies.release(stream)

    def write_block(self, ident: int, flags: int, block: bytes) -> None:
        """Write a header block of an answer."""
        self._sender.write_block(ident, flags, block)

    def finished(self, stream: AppStream) -> None:
        """The app has ended its answer."""
        if stream.ident in self.by_number:
            if not stream.complete:  # the rest of the body interests nobody
                self._sender.write(f.reset(stream.ident, f.NO_ERROR))
            self.forget(stream)

    # -- the ends of streams ------------------------------------------------------------

    def reset(self, stream: Call | AppStream, code: int) -> None:
        """End a stream without an answer, or without the rest of one."""
        if stream.ident in self.by_number:
            self._sender.write(f.reset(stream.ident, code))
            self.forget(stream)
            stream.lost()

    def reset_number(self, ident: int, code: int) -> None:
        """End the stream of a number, whether or not it is open."""
        stream = self.by_number.get(ident)
        if stream is None:
            self._sender.write(f.reset(ident, code))
        else:
            self.reset(stream, code)

    def forget(self, stream: Call | AppStream) -> None:
        """The stream has ended: nothing is kept for it, and its client may send as much again."""
        streams = self.by_number
        if streams.pop(stream.ident, None) is None:
            return
        if not stream.complete:
            self.closed.unfinished(stream.ident)
        if stream.received:
            self._intake.held -= stream.received
            stream.received = 0
        self._state.bodies.held -= stream.charged
        stream.charged = 0
        if type(stream) is not Call:
            self._intake.acknowledge(stream.dropped())  # type: ignore[union-attr]
        blocked = self._sender.blocked
        if blocked:
            blocked.pop(stream.ident, None)
        if not streams:
            self._emptied()

    def shed(self) -> None:
        """Refuse the youngest body that is not whole: with all of them here, none might be."""
        for stream in reversed(self.by_number.values()):
            if not stream.complete and stream.received:
                self.reset(stream, f.ENHANCE_YOUR_CALM if stream.begun else f.REFUSED_STREAM)
                return

    def sweep(self, now: float) -> None:
        """Reset those whose clients are too slow."""
        for stream in list(self.by_number.values()):
            if (stream.deadline < now and not stream.complete) or stream.stuck < now:
                self.reset(stream, f.CANCEL)

    def prolong(self, seconds: float) -> None:
        """Allow their clients more time: so much was not their own."""
        for stream in self.by_number.values():
            stream.deadline += seconds

    def lost(self) -> None:
        """The connection is gone, and with it whoever waits for an answer."""
        self._emptied = _nothing  # a cycle of objects would hold the bodies
        streams, self.by_number = self.by_number, {}
        for stream in streams.values():
            self._state.bodies.release(stream)
            stream.lost()


def _nothing() -> None:
    """Do nothing: the connection is gone."""
