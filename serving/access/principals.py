"""Who a request comes from, as far as that is known."""

from __future__ import annotations

from typing import Final

import msgspec

CREDENTIAL: Final = b"authorization"
"""The header, or gRPC metadata, that says who asks; nothing else does."""


class Credential(bytes):
    """What a request says of who asks, as it was sent; texts made of it do not show it."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Return a text without it."""
        return "<credential>"

    __str__ = __repr__


NO_CREDENTIAL: Final = Credential()


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
