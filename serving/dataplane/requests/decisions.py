"""What guards decide about the rows of one request."""

from __future__ import annotations

import msgspec


class RowDecision(msgspec.Struct, frozen=True, gc=False):
    """A guard did not let a row pass.

    Attributes:
        guard: its name.
        row: of the request, from 0.
        action: a `guards.decisions.Action`.
        reason: for the client.
    """

    guard: str
    row: int
    action: int
    reason: str
