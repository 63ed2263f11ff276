"""Which model a ModelInfer message asks for, without reading the message."""

from __future__ import annotations

from typing import Final

_NAME: Final = 0x0A
_VERSION: Final = 0x12


def peek_model(message: bytes, at: int = 0) -> tuple[str, str] | None:
    """Return name and version of the model that a message which begins at `at` says first.

    Encoders write fields in the order of their numbers, and these are fields 1 and 2. A message
    that is written otherwise (None), or names a model twice, must be read to be understood.
    """
    name, at = _text(message, at, _NAME)
    if not name:
        return None
    return name, _text(message, at, _VERSION)[0]


def _text(message: bytes, at: int, tag: int) -> tuple[str, int]:
    """Return the field at `at` and where it ends, if it has this tag and is short; else nothing."""
    if len(message) < at + 2 or message[at] != tag or message[at + 1] > 127:
        return "", at
    end = at + 2 + message[at + 1]
    text = message[at + 2 : end]
    if len(message) < end or not text.isascii():
        return "", at
    return text.decode("ascii"), end
