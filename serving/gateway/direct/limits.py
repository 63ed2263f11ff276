"""What clients of the direct ingress may take."""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """What clients may take, in seconds.

    Attributes:
        head_s: for the head of a request.
        body_s: for its body.
        idle_s: how long a connection may stay open without a request.
        stall_s: how long a client may leave its answers unread.
        linger_s: how long a connection that ends is still read, so that its client sees why.
        sweep_s: how often all this is looked at.
    """

    head_s: float = 10.0
    body_s: float = 60.0
    idle_s: float = 300.0
    stall_s: float = 60.0
    linger_s: float = 2.0
    sweep_s: float = 1.0
