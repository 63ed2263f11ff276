"""Request ids: UUIDv7 (RFC 9562, section 5.7), cheap enough to make one for every request."""

from __future__ import annotations

import os
import time

from serving.errors import InvalidInput

MAX_ID = 256
"""Longest id that a client may give, in characters."""

_REFILL = 512
_suffixes: list[str] = []

# A forked child must not hand out the ids that its parent will.
os.register_at_fork(after_in_child=_suffixes.clear)

_millisecond = 0
_prefix = ""


def new_request_id() -> str:
    """Return a new UUIDv7 as text.

    Ids of different milliseconds sort by time; within one they are in random order. Random
    bits are drawn from the operating system, many ids at a time.
    """
    global _millisecond, _prefix
    now = time.time_ns() // 1_000_000
    if now != _millisecond:
        text = f"{now & 0xFFFF_FFFF_FFFF:012x}"
        _prefix = f"{text[:8]}-{text[8:]}-"
        _millisecond = now
    try:
        return _prefix + _suffixes.pop()
    except IndexError:
        _refill()
        return _prefix + _suffixes.pop()


def _refill() -> None:
    text = os.urandom(10 * _REFILL).hex()
    # Version 7, then the variant: the two highest of the next 64 bits are 10.
    _suffixes.extend(
        f"7{text[at : at + 3]}-{'89ab'[int(text[at + 3], 16) & 3]}{text[at + 4 : at + 7]}"
        f"-{text[at + 7 : at + 19]}"
        for at in range(0, 20 * _REFILL, 20)
    )


def chosen_id(own: str | None, header: str | None) -> str:
    """Return the id in the message, else the one from a header, else a new one.

    Raises:
        InvalidInput: it is longer than `MAX_ID` characters.
    """
    identity = own or header
    if not identity:
        return new_request_id()
    if len(identity) > MAX_ID:
        raise InvalidInput(f"the request id is longer than {MAX_ID} characters; shorten it")
    return identity
