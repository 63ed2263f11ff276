"""Keys that stand twice in one JSON object: parsers differ in which one counts, so none does."""

from __future__ import annotations

import json
from typing import Any, Final

from serving.errors import InvalidInput

MOST: Final = 256 << 10
"""Bytes that are checked unless the caller says otherwise: some 50 ms at the worst."""


def refuse_duplicates(text: bytes, what: str, most: int = MOST) -> None:
    """Check that no object in the JSON `text` has a key twice; `what` is how errors name it.

    Slow beside a typed decoder, half a second for a megabyte of small objects, and nobody else
    is answered meanwhile: so it reads `most` bytes and no more.

    Raises:
        InvalidInput: one has, `text` is longer than `most`, or it is not valid JSON in UTF-8.
    """
    if len(text) > most:
        raise InvalidInput(
            f"{what} has {len(text)} bytes of names, parameters and unknown keys, more than the "
            f"{most} that are read; leave out what is not needed"
        )
    try:
        json.loads(
            # Given bytes, it would guess at UTF-16 and UTF-32, and let lone surrogates pass.
            text.decode(),
            object_pairs_hook=_without_duplicates,
            # Only keys matter here; this also keeps long numbers cheap.
            parse_int=bool,
            parse_float=bool,
            parse_constant=bool,
        )
    except UnicodeDecodeError:
        raise InvalidInput(f"{what} is not valid: it is not valid UTF-8") from None
    except (ValueError, RecursionError) as error:
        problem = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise InvalidInput(f"{what} is not valid: {problem}") from None


def _without_duplicates(pairs: list[tuple[str, Any]]) -> None:
    keys = {key for key, _ in pairs}
    if len(keys) != len(pairs):
        names = [key for key, _ in pairs]
        twice = next(key for key in names if names.count(key) > 1)
        raise ValueError(f"the key '{twice[:80]}' stands twice in one object")
