"""Who a request comes from, as far as that is known."""

from __future__ import annotations

from typing import Final

import msgspec

CREDENTIAL: Final = b"authorization"
"""The header, or gRPC metadata, that says who asks; nothing else does."""


class Principal(msgspec.Struct, frozen=True):
    """Somebody who asks.

    Attributes:
        name: what the log and the records call them.
    """

    name: str


ANYBODY: Final = Principal("anybody")
"""Whoever reaches the server: nothing authenticates clients yet."""

APPLICATION: Final = Principal("application")
"""The application that hosts the server, when its own code asks."""
