"""Streams of windows shown to a law of alarms: what is told where nothing changed, and how late a
lasting shift and a slow ramp are told."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy import stats

from loadtest.experiments.window_streams import DAY, Array, Stream
from monitors.alarms.budget import SEVERITIES, level
from monitors.alarms.cell import Cell
from monitors.alarms.law import StreamLaw
from monitors.alarms.reference import ReferenceMoments

COLUMNS: Final = 30
REFERENCE_ROWS: Final = 5000
SHIFTS: Final = (0.2, 0.5)
STARTS: Final = (50, 92)
"""Windows of the day at which a shift begins: 08:20 and 15:20."""
WEEKS: Final = 10
"""Models whose first week is simulated, at most."""
RAMP: Final = 0.4
"""Standard deviations of a row that a ramp must not reach untold."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is simulated.

    Attributes:
        models, days: of the streams without a change.
        awake_models: of those with one.
        known: days before it.
        horizon: windows after which it counts as not found.
        ramps: days in which ramps reach `RAMP`.
    """

    models: int
    days: int
    awake_models: int
    known: int
    horizon: int
    ramps: tuple[int, ...]

    @property
    def changes(self) -> tuple[int, ...]:
        """Windows at which a shift begins."""
        return tuple(self.known * DAY + start for start in STARTS)


FULL: Final = Size(models=20, days=90, awake_models=4, known=28, horizon=7 * DAY, ramps=(7, 28))
QUICK: Final = Size(models=2, days=10, awake_models=1, known=8, horizon=DAY, ramps=())


def cell(means: Array, rows: float, at: int) -> Cell:
    """Return the cell of a window of ten minutes, with rows of variance one."""
    return Cell(
        first=600.0 * at,
        last=600.0 * at + 599,
        n=int(rows),
        counts=np.full(len(means), rows),
        sums=means * rows,
        squares=(means * means + 1) * rows,
    )


def new_law(rng: np.random.Generator, models: int, pages: float) -> StreamLaw:
    """Return a law of `models` times 30 columns whose reference was drawn from the same stream."""
    k = models * COLUMNS
    reference = ReferenceMoments(
        mean=rng.normal(0, REFERENCE_ROWS**-0.5, k),
        variance=np.ones(k),
        n=np.full(k, float(REFERENCE_ROWS)),
    )
    return StreamLaw(k, reference, pages * models)


def quiet(stream: Stream, size: Size, seed: int) -> dict[str, Any]:
    """Return the false alarms of each severity per model and quarter, and of the first week.

    All models are streams of one law, which costs a fourth. They share what gross bursts teach, so
    the first week, when that matters, is simulated with a law for each model.
    """
    rng = np.random.default_rng(seed)
    law = new_law(rng, size.models, SEVERITIES["info"])
    windows = size.days * DAY
    means, rows = stream.draw(rng, windows, law.streams), stream.rows(windows)
    worth = {name: rate / SEVERITIES["info"] for name, rate in SEVERITIES.items()}
    told = {name: np.zeros(law.streams, bool) for name in worth}
    count = dict.fromkeys(worth, 0)
    for at in range(windows):
        said = law.observe(cell(means[at], rows[at], at), 600.0 * at)
        for name, share in worth.items():
            now = said.alarm & (said.p <= said.level * share)
            count[name] += int((now & ~told[name]).sum())
            # An alarm is one however its evidence wavers while it stands.
            told[name] = said.alarm & (told[name] | now)
    quarters = size.models * size.days / 90
    return {
        "models": size.models,
        "days": size.days,
        "first_week_info_per_model": _first_week(stream, size, seed),
        **{
            name: {
                "count": n,
                "per_model_and_quarter": n / quarters,
                "low": float(stats.chi2.ppf(0.025, 2 * n) / 2 / quarters) if n else 0.0,
                "high": float(stats.chi2.ppf(0.975, 2 * n + 2) / 2 / quarters),
                "stated": SEVERITIES[name],
            }
            for name, n in count.items()
        },
    }


def _first_week(stream: Stream, size: Size, seed: int) -> float:
    """Return the infos of the first week per model, each of which has a law of its own."""
    rng = np.random.default_rng([seed, 7])
    models, windows = min(size.models, WEEKS), min(size.days, 7) * DAY
    told = 0
    rows = stream.rows(windows)
    for _ in range(models):
        law = new_law(rng, 1, SEVERITIES["info"])
        before = np.zeros(law.streams, bool)
        for at, means in enumerate(stream.draw(rng, windows, law.streams)):
            now = law.observe(cell(means, rows[at], at), 600.0 * at).alarm
            told += int((now & ~before).sum())
            before = now
    return told / models


def awake(stream: Stream, size: Size, seed: int, *, ramps: bool) -> dict[str, Any]:
    """Return how many rows it took to tell shifts at the level of pages, and an oracle.

    With `ramps`, also how far they got.
    """
    slow = size.ramps if ramps else ()
    rng = np.random.default_rng(seed)
    law = new_law(rng, size.awake_models, SEVERITIES["page"])
    windows = max(size.changes) + max(size.horizon, *(DAY * days for days in slow), 0)
    means, rows = stream.draw(rng, windows, law.streams), stream.rows(windows)
    delays: dict[float, list[Array]] = {shift: [] for shift in SHIFTS}
    oracles: dict[float, list[float]] = {shift: [] for shift in SHIFTS}
    reached: list[dict[str, Any]] = []
    for at in range(max(size.changes)):
        law.observe(cell(means[at], rows[at], at), 600.0 * at)
        if at + 1 in size.changes:
            for shift in SHIFTS:
                delays[shift].append(_delays(copy.deepcopy(law), means, rows, at + 1, shift, size))
                oracles[shift].append(_oracle(stream, rows, at + 1, shift, size))
        if at + 1 == size.changes[0]:
            reached = [_ramp(copy.deepcopy(law), means, rows, at + 1, days) for days in slow]
    shifts = [_summary(shift, np.concatenate(delays[shift]), oracles[shift]) for shift in SHIFTS]
    return {"shifts": shifts, "ramps": reached}


def _ramp(law: StreamLaw, means: Array, rows: Array, start: int, days: int) -> dict[str, Any]:
    """Return how far a ramp got until it was told, and the share that was told before `RAMP`."""
    reached = np.full(law.streams, np.inf)
    stood = np.zeros(law.streams, bool)
    for step in range(days * DAY):
        at, by = start + step, RAMP * (step + 1) / (days * DAY)
        said = law.observe(cell(means[at] + by, rows[at], at), 600.0 * at)
        stood |= said.alarm & (step == 0)
        reached = np.where(said.alarm & np.isinf(reached), by, reached)
        if np.isfinite(reached).all():
            break
    reached = np.sort(reached[~stood])
    most = reached[int(len(reached) * 0.9)]
    return {
        "days": days,
        "median_sd": _finite(reached[len(reached) // 2]),
        "sd_of_90_percent": _finite(most),
        "found": float(np.isfinite(reached).mean()),
    }


def _delays(
    law: StreamLaw, means: Array, rows: Array, start: int, shift: float, size: Size
) -> Array:
    """Return the rows [k] from the change to the alarm; infinite without, NaN if one stood."""
    found = np.full(law.streams, np.inf)
    seen = 0.0
    stood = np.zeros(law.streams, bool)
    for at in range(start, start + size.horizon):
        seen += rows[at]
        said = law.observe(cell(means[at] + shift, rows[at], at), 600.0 * at)
        if at == start:
            stood = said.alarm & (said.since < 600.0 * (start - 6))
        found = np.where(said.alarm & np.isinf(found), seen, found)
        if np.isfinite(found).all():
            break
    found[stood] = np.nan
    return found


def _oracle(stream: Stream, rows: Array, start: int, shift: float, size: Size) -> float:
    """Return the rows after which the most powerful test finds a shift in half the cases."""
    alpha = level(SEVERITIES["page"], COLUMNS, 1, 600.0, 1)
    needed = stats.norm.isf(alpha / 2) ** 2
    enough = np.flatnonzero(stream.information(start, size.horizon, shift) >= needed)
    return float(rows[start : start + enough[0] + 1].sum()) if len(enough) else float("inf")


def _summary(shift: float, delays: Array, oracles: Sequence[float]) -> dict[str, Any]:
    known = np.sort(delays[~np.isnan(delays)])
    half, most = known[len(known) // 2], known[int(len(known) * 0.9)]
    oracle = float(np.mean(oracles))
    return {
        "shift_sd": shift,
        "median_rows": _finite(half),
        "rows_of_90_percent": _finite(most),
        "oracle_rows": _finite(oracle),
        "times_oracle": _finite(half / oracle) if np.isfinite(oracle) else None,
        "found": float(np.isfinite(known).mean()),
    }


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
