"""What the expected variation of a stream is known from, in words."""

from __future__ import annotations

from typing import Final

from monitors.alarms.season import Season
from monitors.alarms.standardized import Mask

NO_HISTORY: Final = "independent rows, and any daily cycle, until two days are known"


def basis_texts(
    season: Season, known: Mask, accepted: Mask, *, of_profile: bool
) -> tuple[str, ...]:
    """Return a text for each of k streams.

    Args:
        season: what was learnt of times of day and week.
        known: [k] where days count as history.
        accepted: [k] where a shift that was told is taken as normal.
        of_profile: whether most of the history is the order of the profile.
    """
    cached: dict[tuple[bool, int, bool, bool, bool], str] = {}
    texts = []
    daily, weekly = season.seasons()
    days = season.days.periods.astype(int)
    for row in zip(known, days, daily, weekly, accepted, strict=True):
        key = (bool(row[0]), int(row[1]), bool(row[2]), bool(row[3]), bool(row[4]))
        if key not in cached:
            cached[key] = _text(*key, of_profile=of_profile)
        texts.append(cached[key])
    return tuple(texts)


def _text(
    known: bool, days: int, daily: bool, weekly: bool, accepted: bool, *, of_profile: bool
) -> str:
    if not known:
        return NO_HISTORY
    text = f"order of the profile, {days} days" if of_profile else f"{days} days of history"
    if weekly:
        text += ", by hour of week"
    elif daily:
        text += ", by time of day"
    return text + ("; a shift that was told is taken as normal" if accepted else "")
