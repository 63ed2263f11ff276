"""Streams of an HTTP/2 client that are closed: which frames for them are late, which are wrong."""

from __future__ import annotations

from collections import deque
from typing import Final

from serving.http2.frames import PROTOCOL_ERROR, STREAM_CLOSED, ProtocolError

MOST_UNFINISHED: Final = 4096
MOST_GAPS: Final = 64


class ClosedStreams:
    """Tells of streams that are not open any more (RFC 9113, sections 5.1 and 5.1.1).

    Where the gateway ended a stream first, with an answer or a reset, frames that the client sent
    before it learned of that are no error. After the client's own end every frame is.
    """

    def __init__(self) -> None:
        self._unfinished: dict[int, None] = {}
        self._lenient_to = 0
        """Up to this number it is not known any more which client's side was open."""
        self._gaps: deque[range] = deque(maxlen=MOST_GAPS)

    def opened(self, ident: int, last: int) -> None:
        """Note that a client opened a stream that is not the next after `last`, its last one."""
        self._gaps.append(range(last + 2 if last else 1, ident, 2))

    def unfinished(self, ident: int) -> None:
        """Note that a stream is closed and its client has not ended its side."""
        self._unfinished[ident] = None
        if len(self._unfinished) > MOST_UNFINISHED:
            oldest = next(iter(self._unfinished))
            del self._unfinished[oldest]
            self._lenient_to = max(self._lenient_to, oldest)

    def ended(self, ident: int) -> None:
        """Note that the client has ended its side now."""
        self._unfinished.pop(ident, None)

    def require_late(self, ident: int, opens: bool) -> None:
        """Let a frame pass that the client sent before it learned that its stream is closed.

        Args:
            ident: an odd number, not above that of the client's last stream, of no open stream.
            opens: whether the frame would open a stream.

        Raises:
            ProtocolError: the client knew.
        """
        if ident in self._unfinished or ident <= self._lenient_to:
            return
        if opens and any(ident in gap for gap in self._gaps):
            raise ProtocolError(PROTOCOL_ERROR, "the numbers of new streams must increase")
        raise ProtocolError(STREAM_CLOSED, "a frame for a stream that its client has ended")
