"""How many bytes of request bodies a gateway process holds, over all connections and protocols.

A body counts from when its length is known, else as it comes, until its request is over; what it
unpacks to counts beside it. Requests find room in their order of arrival. One that finds none is
refused before anything of its body is kept.
"""

from __future__ import annotations

from typing import Final, Protocol

from serving.errors import Overloaded, PayloadTooLarge
from serving.telemetry.counters import SeriesSet
from serving.telemetry.metrics.inference import BODY_HELD, BODY_REFUSED

SMALL: Final = 64 << 10
"""Bytes up to which a body may use all of the budget; larger ones leave an eighth of it."""
_PREFIX: Final = 5
"""Bytes that gRPC puts before a message."""
COUNTED: Final = "vigil.bodies_counted"
"""ASGI extension of a server that counts the bodies it receives, so that the app need not."""


class Holder(Protocol):
    """Whoever answers for a request: `charged` are the bytes that it has of the budget."""

    charged: int


class BodyBudget:
    """The bytes that one gateway process may hold, and those it does. Belongs to one loop.

    Args:
        most: bytes over all requests.
        largest: bytes of the largest body, which fits into an empty budget in any case.

    Attributes:
        held: bytes that are held now.
        large: bytes up to which any body finds room. The rest is for small ones: a client that
            announces large bodies and sends them slowly must not keep out everybody else.
        refused: requests that found no room.
    """

    __slots__ = ("held", "large", "most", "refused")

    def __init__(self, most: int, largest: int) -> None:
        self.large = max(most - most // 8, largest + _PREFIX)
        self.most = max(most, self.large)
        self.held = 0
        self.refused = 0

    def fits(self, more: int, size: int) -> bool:
        """Whether there is room for `more` bytes of a body that has `size` then; counts a no."""
        if self.held + more <= (self.most if size <= SMALL else self.large):
            return True
        self.refused += 1
        return False

    def cover(self, holder: Holder, size: int) -> bool:
        """Charge a holder with `size` bytes in all; False, and nothing changes, without room."""
        more = size - holder.charged
        if more > 0:
            if not self.fits(more, size):
                return False
            self.held += more
            holder.charged = size
        return True

    def give_back(self, holder: Holder, size: int) -> None:
        """Take back `size` bytes from a holder, or as many as it has."""
        size = min(size, holder.charged)
        self.held -= size
        holder.charged -= size

    def release(self, holder: Holder) -> None:
        """Take back all that a holder has; a second time there is nothing."""
        self.held -= holder.charged
        holder.charged = 0


class Share:
    """What the ASGI app holds for one request beside what the server in front counts.

    Args:
        budget: the process's.
        counted: whether the server counts the body itself (`COUNTED`).

    Attributes:
        charged: bytes of the budget.
    """

    __slots__ = ("_budget", "_counted", "_ended", "charged")

    def __init__(self, budget: BodyBudget, *, counted: bool) -> None:
        self._budget = budget
        self._counted = counted
        self._ended = False
        self.charged = 0

    def receives(self, size: int) -> None:
        """Note that `size` bytes of the body have come, or will: a length that was announced.

        Raises:
            Overloaded: there is no room for it.
        """
        if not self._counted and not self._ended and not self._budget.cover(self, size):
            raise overloaded()

    def add(self, more: int) -> None:
        """Charge `more` bytes: what a body has unpacked to, or a message of a stream.

        Raises:
            Overloaded: there is no room for it.
        """
        # A part of a request that has ended may go on for a moment.
        if not self._ended and not self._budget.cover(self, self.charged + more):
            raise overloaded()

    def require(self, size: int) -> None:
        """Refuse a body that takes `size` bytes, packed and unpacked, if that never fits.

        Raises:
            PayloadTooLarge: it does not, even if nothing else is held.
        """
        if size > self._budget.large:
            raise PayloadTooLarge(
                "the body and what it unpacks to are over the limit of all bodies together "
                "(`listen.max_inflight_mib`); send a smaller one"
            )

    def give_back(self, size: int) -> None:
        """Take back `size` bytes: a message of a stream is answered."""
        self._budget.give_back(self, size)

    def end(self) -> None:
        """Take back everything; the request is over."""
        self._ended = True
        self._budget.release(self)


class BodySeries:
    """The budget as metrics.

    Args:
        budget: the process's.
        series: where they are kept.
    """

    def __init__(self, budget: BodyBudget, series: SeriesSet) -> None:
        self._budget = budget
        self._held = series.gauge(BODY_HELD)
        self._refused = series.sum(BODY_REFUSED)

    def update(self) -> None:
        """Bring them up to date."""
        self._held.set(self._budget.held)
        self._refused.add(self._budget.refused - self._refused.value)


def overloaded() -> Overloaded:
    """Return the error for a body that finds no room."""
    return Overloaded(
        "the gateway holds as many bytes of requests as it may (`listen.max_inflight_mib`); "
        "retry later",
        retry_after_s=1,
    )
