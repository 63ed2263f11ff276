"""What the two ends of a channel connection tell each other beside requests and replies."""

from __future__ import annotations

import msgspec

from serving.telemetry.logs.causes import Cause


class Hello(msgspec.Struct, frozen=True):
    """What each end says first. `slots` is how many requests the sender takes at once."""

    version: int
    max_frame: int
    slots: int
    nonce: bytes


class Failure(msgspec.Struct, frozen=True):
    """A domain error on its way to the other end."""

    error: str
    message: str
    retry_after_s: float | None = None
    cause: Cause | None = None
    logged: bool = False
