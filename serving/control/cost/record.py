"""What models used, by the hour, in files that outlive the instance: one a day (UTC), for 31 days.

The hours of a day that is not over are held in memory and written every minute; what was counted
since the last writing is lost with a process that is killed.
"""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from serving.control.cost.quantities import ByModel, add

HOUR_S: Final = 3600
DAY_S: Final = 86400
KEPT_S: Final = 31 * DAY_S
MOST_HELD: Final = 3
"""Days that are held in memory while they cannot be written."""
FORMAT: Final = 1
"""Changes whenever a release writes what an earlier one could not read, or the other way round."""


class Hour(msgspec.Struct, frozen=True):
    """What was used within one hour.

    Attributes:
        start: when the hour began, Unix seconds.
        began: when counting began in it, Unix seconds.
        seconds: for how long it was counted.
        told: of these, for how long each part was known: `rows`, `cpu/ROLE`, `energy/SOURCE`,
            `device/NAME`.
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
    """The record of one instance. One method runs at a time.

    Args:
        folder: where the files are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[int, Hour] = {}
        self._taken_up: set[Path] = set()
        """Files whose hours are all held."""

    def load(self, now: float) -> None:
        """Go on with the hours of the day that `now` belongs to.

        Raises:
            ValueError: the file is damaged or of another release; it was set aside.
            OSError: it cannot be read.
        """
        self._take_up(self._path(now))

    def _take_up(self, path: Path) -> None:
        """Hold the hours of a file, beside what was counted in them meanwhile."""
        try:
            hours = _hours_of(path)
        except ValueError:
            path.replace(path.with_suffix(".damaged"))
            raise
        for hour in hours:
            _join(self._held, hour)
        self._taken_up.add(path)

    def add(self, now: float, seconds: float, told: set[str], used: ByModel) -> None:
        """Add what was used in the `seconds` before `now`.

        Args:
            told: parts that are known of this time.
        """
        start = int(now // HOUR_S) * HOUR_S
        models: ByModel = {}
        add(models, used)
        _join(self._held, Hour(start, now - seconds, seconds, dict.fromkeys(told, seconds), models))
        # Whole days, for the file of a day is written as a whole.
        latest = sorted({start // DAY_S for start in self._held})[-MOST_HELD:]
        self._held = {start: hour for start, hour in self._held.items() if start // DAY_S in latest}

    def write(self, now: float) -> None:
        """Write the hours that are held, let go of those of other days, and drop old files.

        Raises:
            OSError: they cannot be written. Those of the latest three days stay in memory.
        """
        # A clock that was set back leads to days whose files were let go of.
        for path in {self._path(start) for start in self._held} - self._taken_up:
            with contextlib.suppress(ValueError):  # damaged, and set aside
                self._take_up(path)
        days: dict[Path, list[Hour]] = {}
        for hour in self._held.values():
            days.setdefault(self._path(hour.start), []).append(hour)
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path, hours in days.items():
            temporary = path.with_suffix(".new")
            temporary.write_bytes(msgspec.json.encode(_Day(FORMAT, hours)))
            temporary.replace(path)
        today = now // DAY_S
        self._held = {s: hour for s, hour in self._held.items() if s // DAY_S == today}
        self._taken_up = {self._path(start) for start in self._held}
        for path in self._files():
            if _begin(path) + DAY_S < now - KEPT_S:
                path.unlink(missing_ok=True)

    def read(self, since: float) -> list[Hour]:
        """Return all hours from the one that `since` belongs to, sorted.

        Args:
            since: Unix seconds.
        """
        first = since // HOUR_S * HOUR_S
        found: dict[int, Hour] = {}
        for path in self._files():
            if path not in self._taken_up:
                for hour in _written(path, first):
                    _join(found, hour)
        for hour in self._held.values():
            _join(found, hour)
        return [hour for start, hour in sorted(found.items()) if start >= first]

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


def _join(hours: dict[int, Hour], more: Hour) -> None:
    """Add an hour to those that are there; what was counted in the same hour adds up."""
    known = hours.get(more.start)
    if known is None:
        hours[more.start] = more
        return
    told = dict(known.told)
    for part, seconds in more.told.items():
        told[part] = told.get(part, 0.0) + seconds
    models = {model: dict(amounts) for model, amounts in known.models.items()}
    add(models, more.models)
    hours[more.start] = Hour(
        more.start, min(known.began, more.began), known.seconds + more.seconds, told, models
    )


def _written(path: Path, first: float) -> list[Hour]:
    """Return the hours of a file; none where it ends before `first`, or cannot be read."""
    if _begin(path) + DAY_S <= first:
        return []
    try:
        return _hours_of(path)
    except (OSError, ValueError):
        return []


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
