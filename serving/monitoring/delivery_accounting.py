"""Keeps the books on prediction events: every row that a gateway sent was received or is lost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from serving.channel.messages.observation import Position, Taken

MAX_GATEWAYS: Final = 256
"""Gateway processes remembered; the one not heard of for longest is forgotten."""


class Tally(msgspec.Struct):
    """Messages, and the requests and rows in them."""

    events: int = 0
    requests: int = 0
    rows: int = 0

    def add(self, events: int, requests: int, rows: int) -> None:
        """Add, or with negative numbers take back."""
        self.events += events
        self.requests += requests
        self.rows += rows


class DeliveryAccounting:
    """Compares what gateways say they have sent with what arrived.

    Attributes:
        received: what arrived.
        lost: what was sent before something that arrived, and has not arrived itself.
    """

    def __init__(self) -> None:
        self.received = Tally()
        self.lost = Tally()
        self._expected: dict[str, Position] = {}

    def at(self, position: Position) -> None:
        """Take note of what a gateway has sent so far; what is missing of it is lost."""
        key = f"{position.gateway}/{position.incarnation}"
        expected = self._expected.pop(key, None) or Position(
            position.gateway, position.incarnation, 0, 0, 0
        )
        if position.sequence > expected.sequence:
            self.lost.add(
                position.sequence - expected.sequence,
                position.requests - expected.requests,
                position.rows - expected.rows,
            )
            expected = position
        self._remember(key, expected)

    def taken(self, position: Position) -> Taken:
        """Return what is here of the gateway that sent `position`."""
        known = self._expected.get(f"{position.gateway}/{position.incarnation}")
        return Taken(position.incarnation, known.sequence if known else 0)

    def arrived(self, position: Position, requests: int, rows: int) -> bool:
        """Count one message that had `position` sent before it; False: it was here before."""
        self.at(position)
        key = f"{position.gateway}/{position.incarnation}"
        if position.sequence < self._expected[key].sequence:
            return False
        self.received.add(1, requests, rows)
        self._expected[key] = Position(
            position.gateway,
            position.incarnation,
            position.sequence + 1,
            position.requests + requests,
            position.rows + rows,
        )
        return True

    def state(self) -> dict[str, Any]:
        """Return the books as JSON-serialisable values."""
        plain: dict[str, Any] = msgspec.to_builtins(
            {"received": self.received, "lost": self.lost, "expected": self._expected}
        )
        return plain

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.received = msgspec.convert(state["received"], Tally)
        self.lost = msgspec.convert(state["lost"], Tally)
        self._expected = msgspec.convert(state["expected"], dict[str, Position])

    def _remember(self, key: str, position: Position) -> None:
        self._expected[key] = position
        if len(self._expected) > MAX_GATEWAYS:
            del self._expected[next(iter(self._expected))]
