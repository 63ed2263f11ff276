"""What models used, by the hour, in files that outlive the instance: one a day (UTC), for 31 days.

The hours of a day that is not over are held in memory and written every minute; what was counted
since the last writing is lost with a process that is killed.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from serving.control.cost.quantities import ByModel, add

HOUR_S: Final = 3600
DAY_S: Final = 86400
KEPT_S: Final = 31 * DAY_S
MOST_HELD: Final = 48
"""Hours that are held in memory while they cannot be written."""
FORMAT: Final = 1
"""Changes whenever a release writes what an earlier one could not read, or the other way round."""


class Hour(msgspec.Struct):
    """What was used within one hour.

    Attributes:
        start: when the hour began, Unix seconds.
        began: when counting began in it, Unix seconds.
        seconds: for how long it was counted.
        told: of these, for how long each part was known: `rows`, `cpu/ROLE`, `energy/SOURCE`.
        models: amounts by model and key; see `quantities`.
    """

    start: int
    began: float
    seconds: float = 0.0
    told: dict[str, float] = {}
    models: ByModel = {}


class _Day(msgspec.Struct):
    format: int
    hours: list[Hour]


class CostRecord:
    """The record of one instance. Only `read` may be called while another method runs.

    Args:
        folder: where the files are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[int, Hour] = {}

    def load(self, now: float) -> None:
        """Go on with the hours of the day that `now` belongs to.

        Raises:
            ValueError: the file is damaged or of another release; it was set aside.
            OSError: it cannot be read.
        """
        path = self._path(now)
        try:
            hours = _hours_of(path)
        except ValueError:
            path.replace(path.with_suffix(".damaged"))
            raise
        self._held = {hour.start: hour for hour in hours}

    def add(self, now: float, seconds: float, told: set[str], used: ByModel) -> None:
        """Add what was used in the `seconds` before `now`.

        Args:
            told: parts that are known of this time.
        """
        start = int(now // HOUR_S) * HOUR_S
        hour = self._held.get(start)
        if hour is None:
            hour = self._held[start] = Hour(start, now - seconds)
        hour.seconds += seconds
        for part in told:
            hour.told[part] = hour.told.get(part, 0.0) + seconds
        add(hour.models, used)

    def write(self, now: float) -> None:
        """Write the hours that are held, let go of those of days before, and drop old files.

        Raises:
            OSError: they cannot be written. They stay in memory, the latest 48.
        """
        self._held = dict(sorted(self._held.items())[-MOST_HELD:])
        days: dict[Path, list[Hour]] = {}
        for hour in self._held.values():
            days.setdefault(self._path(hour.start), []).append(hour)
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path, hours in days.items():
            temporary = path.with_suffix(".new")
            temporary.write_bytes(msgspec.json.encode(_Day(FORMAT, hours)))
            temporary.replace(path)
        today = now // DAY_S * DAY_S
        self._held = {start: hour for start, hour in self._held.items() if start >= today}
        for path in self._files():
            if _begin(path) + DAY_S < now - KEPT_S:
                path.unlink(missing_ok=True)

    def held(self) -> list[Hour]:
        """Return the hours in memory as they are now."""
        return msgspec.json.decode(msgspec.json.encode(list(self._held.values())), type=list[Hour])

    def read(self, since: float, held: list[Hour]) -> list[Hour]:
        """Return all hours from the one that `since` belongs to, sorted; blocks.

        Args:
            since: Unix seconds.
            held: what `held` returned; it counts more than what was written.
        """
        first = since // HOUR_S * HOUR_S
        found = {hour.start: hour for hour in self._written(first)}
        found |= {hour.start: hour for hour in held}
        return [hour for start, hour in sorted(found.items()) if start >= first]

    def _written(self, first: float) -> Iterator[Hour]:
        for path in self._files():
            if _begin(path) + DAY_S > first:
                try:
                    yield from _hours_of(path)
                except (OSError, ValueError):
                    continue

    def _files(self) -> list[Path]:
        return [path for path in sorted(self._folder.glob("*.json")) if _begin(path)]

    def _path(self, time: float) -> Path:
        return self._folder / f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d}.json"


def _begin(path: Path) -> float:
    """Return when a file's day began, Unix seconds; 0 where the name is no day."""
    try:
        return datetime.strptime(path.stem, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return 0.0


def _hours_of(path: Path) -> list[Hour]:
    """Return the hours of a file; none where there is no file."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    day = msgspec.json.decode(content, type=_Day)
    if day.format != FORMAT:
        raise ValueError(f"its format is {day.format}, and this release has {FORMAT}")
    return day.hours
