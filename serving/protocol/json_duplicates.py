"""Keys that stand twice in one JSON object: parsers differ in which one counts, so none does."""

from __future__ import annotations

import json
from typing import Any

from serving.errors import InvalidInput


def refuse_duplicates(text: bytes, what: str) -> None:
    """Check that no object in the JSON `text` has a key twice; `what` is how errors name it.

    Slow beside a typed decoder: only for bodies that are small or rare, after one has read them.

    Raises:
        InvalidInput: one has, or `text` is not valid JSON.
    """
    try:
        json.loads(
            text,
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
