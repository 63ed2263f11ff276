"""Rows with planted changes, shown to the monitor of drift: how many does it take until it tells?

A stream of 30 columns, 25 of numbers and 5 of classes, all independent. Windows are of 1,000 rows,
one per ten minutes.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from monitors.alarms.budget import SEVERITIES
from monitors.drift.distribution import DistributionDriftMonitor, DriftSettings
from monitors.reference.profile import ReferenceProfile
from monitors.rows import Rows

NUMBERS: Final = 25
CLASSES: Final = 5
SHARES: Final = np.array([0.4, 0.25, 0.15, 0.1, 0.07, 0.03])
LABELS: Final = np.array(["a", "b", "c", "d", "e", "f"], dtype=object)
GONE: Final = 3
"""The class that goes: one row in ten has it."""

ROWS: Final = 1000
INTERVAL: Final = 600.0
DAY: Final = 144
REFERENCE_ROWS: Final = 5000
PROFILED: Final = 4
"""One row in so many is in a profile that has times."""

HORIZON: Final = 15
"""Windows after which a change counts as not found."""

FIRST: Final = 20_000 * 86400.0
"""When the first window begins: at midnight."""

TOLD: Final = ("drifted_features", "correlations")

Columns = dict[str, np.ndarray]


def rows(rng: np.random.Generator, n: int) -> Columns:
    """Return n rows without a change: columns x0... of numbers, c0... of classes."""
    numbers = rng.standard_normal((NUMBERS, n))
    found: Columns = {f"x{at}": each for at, each in enumerate(numbers)}
    drawn = np.searchsorted(np.cumsum(SHARES)[:-1], rng.random((CLASSES, n)))
    return found | {f"c{at}": LABELS[each] for at, each in enumerate(drawn)}


@dataclass(frozen=True, slots=True)
class Change:
    """A change.

    Attributes:
        name: what the tables call it.
        apply: makes it in some columns; takes a generator, the columns and which trial it is of.
        within: rows within which it must be told of 1 in 30 columns.
    """

    name: str
    apply: Callable[[np.random.Generator, Columns, int], None]
    within: int


def _shift(by: float) -> Callable[[np.random.Generator, Columns, int], None]:
    def apply(_rng: np.random.Generator, columns: Columns, trial: int) -> None:
        columns[f"x{trial}"] = columns[f"x{trial}"] + by

    return apply


def _missing(rng: np.random.Generator, columns: Columns, trial: int) -> None:
    column = columns[f"x{trial}"]
    columns[f"x{trial}"] = np.where(rng.random(len(column)) < 0.05, np.nan, column)


def _class_gone(rng: np.random.Generator, columns: Columns, trial: int) -> None:
    name = f"c{trial % CLASSES}"
    others = np.delete(SHARES, GONE) / (1 - SHARES[GONE])
    gone = columns[name] == LABELS[GONE]
    drawn = np.searchsorted(np.cumsum(others)[:-1], rng.random(len(gone)))
    columns[name] = np.where(gone, np.delete(LABELS, GONE)[drawn], columns[name])


def _tail(rng: np.random.Generator, columns: Columns, trial: int) -> None:
    column = columns[f"x{trial}"]
    columns[f"x{trial}"] = np.where(rng.random(len(column)) < 0.05, 1000 * column, column)


def _pair(_rng: np.random.Generator, columns: Columns, trial: int) -> None:
    one, other = columns[f"x{trial}"], columns[f"x{(trial + 1) % NUMBERS}"]
    columns[f"x{(trial + 1) % NUMBERS}"] = 0.9 * one + np.sqrt(1 - 0.81) * other


CHANGES: Final = (
    Change("shift of .5 sd", _shift(0.5), 1500),
    Change("shift of .2 sd", _shift(0.2), 10_000),
    Change("missing 0 to 5 %", _missing, 1000),
    Change("a class of 10 % gone", _class_gone, 1000),
    Change("tail x 1000 in 5 % of rows", _tail, 1000),
    Change("correlation 0 to .9", _pair, 10_000),
)


@dataclass(frozen=True, slots=True)
class History:
    """What a monitor knows when a change begins.

    Attributes:
        name: what the tables call it.
        days: that it watched before.
        profile_days: of rows in time order that its profile has; 0: without times.
    """

    name: str
    days: int
    profile_days: int = 0


def monitor(history: History, rng: np.random.Generator) -> DistributionDriftMonitor:
    """Return a monitor that has that history, of pages."""
    if history.profile_days:
        n = history.profile_days * DAY * ROWS // PROFILED
        times = np.arange(n) * PROFILED * INTERVAL / ROWS
        profile = ReferenceProfile.fit(rows(rng, n), times=times)
    else:
        profile = ReferenceProfile.fit(rows(rng, REFERENCE_ROWS))
    settings = DriftSettings(window=ROWS, rate=SEVERITIES["page"])
    return DistributionDriftMonitor(profile, settings)


def _watch(watching: DistributionDriftMonitor, columns: Columns, at: int) -> bool:
    """Show a window's rows; returns whether a column or a pair has drifted."""
    when = FIRST + INTERVAL * at
    found = watching.update(Rows(n=ROWS, timestamp=when, columns=columns), when)
    return any(each.breached for each in found if each.metric in TOLD)


def delays(history: History, trials: int, seed: int) -> Iterator[Mapping[str, Any]]:
    """Yield for each change the rows [trials] until it was told; None: not at all.

    All trials share one history; each makes the change in another column, 20 windows after the
    end of a day.
    """
    rng = np.random.default_rng(seed)
    watching = monitor(history, rng)
    begin = history.days * DAY + 20
    false, stood = 0, False
    for at in range(begin):
        told = _watch(watching, rows(rng, ROWS), at)
        false += told and not stood
        stood = told
    for change in CHANGES:
        taken: list[float | None] = []
        for trial in range(trials):
            own = np.random.default_rng([seed, trial])
            taken.append(_delay(copy.deepcopy(watching), change, own, begin, trial))
        yield {
            "history": history.name,
            "change": change.name,
            "within": change.within,
            "rows": taken,
            "false_before": false,
        }


def _delay(
    watching: DistributionDriftMonitor,
    change: Change,
    rng: np.random.Generator,
    begin: int,
    trial: int,
) -> float | None:
    for at in range(HORIZON):
        columns = rows(rng, ROWS)
        change.apply(rng, columns, trial)
        if _watch(watching, columns, begin + at):
            return float((at + 1) * ROWS)
    return None


QUICK: Final = (
    History("none", 0),
    History("7 days", 7),
    History("none, but a profile of 7 days with times", 0, profile_days=7),
)
FULL: Final = (
    *QUICK[:1],
    History("3 days", 3),
    *QUICK[1:],
    History("28 days", 28),
)


def measure(*, full: bool, seed: int) -> list[dict[str, Any]]:
    """Return, for each history and change, the rows until it was told, of all trials."""
    found = []
    for history in FULL if full else QUICK:
        found += [dict(each) for each in delays(history, 10 if full else 3, seed)]
    return found


def cost(seed: int, windows: int = 20) -> float:
    """Return the microseconds of processor time of a row of 20 columns, windows and law included.

    Rows come in batches of 64.
    """
    rng = np.random.default_rng(seed)
    wide = 20
    profile = ReferenceProfile.fit({f"x{at}": rng.normal(size=5000) for at in range(wide)})
    watching = DistributionDriftMonitor(profile, DriftSettings(window=ROWS))
    batches = [
        {f"x{at}": rng.normal(size=64) for at in range(wide)} for _ in range(windows * ROWS // 64)
    ]
    took = []
    for _ in range(3):
        began = time.process_time()
        for at, columns in enumerate(batches):
            watching.update(Rows(n=64, timestamp=FIRST + 38.4 * at, columns=columns), 0.0)
        took.append((time.process_time() - began) / (64 * len(batches)) * 1e6)
    return min(took)
