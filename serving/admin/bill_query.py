"""What may be asked of the page `/bill`: a period, and a model."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from serving.errors import InvalidInput, printable

DEFAULT_S: Final = 86400.0
_PARAMETERS: Final = ("last", "since", "model")


def read_period(asked: Iterable[tuple[str, str]], now: float) -> tuple[float, str]:
    """Return since when a bill is asked for, Unix seconds, and of which model; empty: all.

    Args:
        asked: the query: `last`, seconds before now, or `since`, Unix seconds; without either, the
            last 24 hours; and `model`.
        now: Unix seconds.

    Raises:
        InvalidInput: it asks for something else.
    """
    given: dict[str, str] = {}
    for name, value in asked:
        if name not in _PARAMETERS or name in given:
            told = printable(name[:40])
            raise InvalidInput(
                f"query parameter '{told}': give each of {', '.join(_PARAMETERS)} once at most, "
                "and no other"
            )
        given[name] = value
    if "last" in given and "since" in given:
        raise InvalidInput("query parameters 'last' and 'since': give one of them")
    if "since" in given:
        since = _seconds("since", given["since"])
        if since > now:
            raise InvalidInput("query parameter 'since' is in the future; give an earlier time")
    else:
        last = _seconds("last", given["last"]) if "last" in given else DEFAULT_S
        since = max(0.0, now - last)
    return since, given.get("model", "")


def _seconds(name: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise InvalidInput(
            f"query parameter '{name}' is '{printable(text[:40])}'; give seconds, 0 or more"
        )
    return seconds
