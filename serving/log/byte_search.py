"""Whether a text stands in the bytes of a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

_BLOCK: Final = 4 << 20


def go_on() -> None:
    """Let a search go on: what is called where nobody may end it."""


def holds(file: Any, text: bytes, going_on: Callable[[], None] = go_on) -> bool:
    """Whether a text stands in a file.

    Args:
        file: has `read`, at its beginning.
        text: of one byte at least.
        going_on: is called again and again, and may raise to end it.

    Raises:
        OSError: the file cannot be read.
    """
    end = b""
    while block := file.read(_BLOCK):
        going_on()
        if text in end + block:
            return True
        end = (end + block)[-len(text) :]
    return False
