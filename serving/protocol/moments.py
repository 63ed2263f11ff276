"""Times as people write them: `1h` ago, or a date with or without a time of the day."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from serving.errors import InvalidInput

_SPAN: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*(s|min|m|h|d|w)")
_SECONDS: Final = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}


def span(text: str, option: str) -> timedelta:
    """Return a span of time such as 90s, 15m, 1h, 7d or 2w.

    Raises:
        InvalidInput: it is none; the message names the option.
    """
    found = _SPAN.fullmatch(text.strip().lower())
    if found is None:
        raise InvalidInput(f"{option} '{text[:40]}' is no span of time; write 90s, 15m, 1h or 7d")
    seconds = float(found[1]) * _SECONDS[found[2]]
    # No log is older, and dates end somewhere.
    return timedelta(seconds=min(seconds, 1000 * 365 * 86_400))


def moment(text: str, option: str) -> datetime:
    """Return a time as RFC 3339 writes it, or a date; without an offset it is UTC.

    Raises:
        InvalidInput: it is none; the message names the option.
    """
    try:
        found = datetime.fromisoformat(text.strip())
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidInput(
            f"{option} '{text[:40]}' is no time; write 2026-01-31 or 2026-01-31T12:00:00Z"
        ) from None


def window(
    last: str | None, since: str | None, until: str | None, now: datetime, sign: str = "--"
) -> tuple[datetime | None, datetime | None]:
    """Return the first time that is meant, and the first that is too late; None: any.

    Args:
        last, since, until: as people write them.
        now: what `last` counts back from.
        sign: what stands before the names where they are written.

    Raises:
        InvalidInput: one is wrong, or they contradict each other.
    """
    if last is not None and (since is not None or until is not None):
        raise InvalidInput(
            f"{sign}last counts back from now: leave out {sign}since and {sign}until, or it"
        )
    if last is not None:
        return now - span(last, f"{sign}last"), None
    first = None if since is None else moment(since, f"{sign}since")
    end = None if until is None else moment(until, f"{sign}until")
    if first is not None and end is not None and first >= end:
        raise InvalidInput(f"{sign}since '{since}' is not before {sign}until '{until}'; swap them")
    return first, end
