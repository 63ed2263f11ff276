"""`python -m loadtest.experiments.quiet_awake`: are alarms quiet on streams without a change, and
awake on the same streams with one? Writes loadtest/results/quiet-awake.*."""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.progress import track
from scipy import stats

from loadtest import facts
from loadtest.experiments.window_streams import DAY, STREAMS, Array, Stream
from monitors.alarms.budget import SEVERITIES, level
from monitors.alarms.cell import Cell
from monitors.alarms.law import StreamLaw
from monitors.alarms.reference import ReferenceMoments

RESULTS: Final = Path(__file__).parents[1] / "results"
COLUMNS: Final = 30
REFERENCE_ROWS: Final = 5000
SHIFTS: Final = (0.2, 0.5)
CHANGES: Final = (28 * DAY + 50, 28 * DAY + 92)
"""When a shift begins: day 28 at 08:20 and at 15:20."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is simulated."""

    models: int
    days: int
    awake_models: int
    horizon: int


FULL: Final = Size(models=20, days=90, awake_models=4, horizon=7 * DAY)
QUICK: Final = Size(models=3, days=35, awake_models=1, horizon=2 * DAY)


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
    """Return the false alarms of each severity per model and quarter, and of the first week."""
    rng = np.random.default_rng(seed)
    law = new_law(rng, size.models, SEVERITIES["info"])
    windows = size.days * DAY
    means, rows = stream.draw(rng, windows, law.streams), stream.rows(windows)
    worth = {name: rate / SEVERITIES["info"] for name, rate in SEVERITIES.items()}
    told = {name: np.zeros(law.streams, bool) for name in worth}
    count = dict.fromkeys(worth, 0)
    first_week = 0
    for at in track(range(windows), f"quiet: {stream.name}"):
        said = law.observe(cell(means[at], rows[at], at), 600.0 * at)
        for name, share in worth.items():
            now = said.alarm & (said.p <= said.level * share)
            new = int((now & ~told[name]).sum())
            count[name] += new
            first_week += new if name == "info" and at < 7 * DAY else 0
            # An alarm is one however its evidence wavers while it stands.
            told[name] = said.alarm & (told[name] | now)
    quarters = size.models * size.days / 90
    return {
        "models": size.models,
        "days": size.days,
        "first_week_info_per_model": first_week / size.models,
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


def awake(stream: Stream, size: Size, seed: int) -> list[dict[str, Any]]:
    """Return how many rows it took to tell shifts at the level of pages, and an oracle."""
    rng = np.random.default_rng(seed)
    law = new_law(rng, size.awake_models, SEVERITIES["page"])
    windows = max(CHANGES) + size.horizon
    means, rows = stream.draw(rng, windows, law.streams), stream.rows(windows)
    delays: dict[float, list[Array]] = {shift: [] for shift in SHIFTS}
    oracles: dict[float, list[float]] = {shift: [] for shift in SHIFTS}
    for at in track(range(max(CHANGES)), f"awake: {stream.name}"):
        law.observe(cell(means[at], rows[at], at), 600.0 * at)
        if at + 1 in CHANGES:
            for shift in SHIFTS:
                delays[shift].append(_delays(copy.deepcopy(law), means, rows, at + 1, shift, size))
                oracles[shift].append(_oracle(stream, rows, at + 1, shift, size))
    return [_summary(shift, np.concatenate(delays[shift]), oracles[shift]) for shift in SHIFTS]


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


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the results as Markdown."""
    lines = [
        "| stream | pages (stated 1) | tickets (stated 3) | infos (stated 12) | infos, first week |"
        + "".join(f" {shift} sd: rows, 90 % | oracle | times |" for shift in SHIFTS),
        "|---" * (5 + 3 * len(SHIFTS)) + "|",
    ]
    for row in rows:
        quiet_ = row["quiet"]
        cells = [row["stream"]]
        for name in ("page", "ticket", "info"):
            each = quiet_[name]
            cells.append(
                f"{each['per_model_and_quarter']:.2f} ({each['low']:.2f}-{each['high']:.2f})"
            )
        cells.append(f"{quiet_['first_week_info_per_model']:.2f}")
        for each in row["awake"]:
            cells += [
                f"{_rows(each['median_rows'])}, {_rows(each['rows_of_90_percent'])}",
                _rows(each["oracle_rows"]),
                "-" if each["times_oracle"] is None else f"{each['times_oracle']:.1f}",
            ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _rows(value: float | None) -> str:
    return "not found" if value is None else f"{value:,.0f}"


def draw(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a picture: false alarms against the stated number, and rows against the oracle's."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(
        1, 2, sharey=True, layout="constrained", figsize=(10, 5)
    )
    place = np.arange(len(rows))
    for name, colour in (("page", "#c05a1c"), ("info", "#1b6ca8")):
        each = [row["quiet"][name] for row in rows]
        value = np.array([e["per_model_and_quarter"] for e in each])
        reach = np.array([[v - e["low"], e["high"] - v] for v, e in zip(value, each, strict=True)])
        left.errorbar(value, place, xerr=reach.T, fmt="o", color=colour, label=name)
        left.axvline(SEVERITIES[name], color=colour, linestyle=":")  # type: ignore[index]
    left.set_xscale("symlog", linthresh=1)
    left.set_yticks(place, [row["stream"] for row in rows], fontsize=8)
    left.invert_yaxis()
    left.set_xlabel("false alarms per model and 90 days (dotted: stated)", fontsize=8)
    left.legend(fontsize=8)
    for index, (shift, mark) in enumerate(zip(SHIFTS, "so", strict=True)):
        times = [row["awake"][index]["times_oracle"] for row in rows]
        right.plot([np.nan if t is None else t for t in times], place, mark, label=f"{shift} sd")
    right.axvline(2, color="grey", linestyle=":")
    right.set_xscale("log")
    right.set_xlabel("rows to the alarm, times those of an oracle", fontsize=8)
    right.legend(fontsize=8)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--quick", action="store_true", help="3 models, 35 days (the default)")
    how.add_argument("--full", action="store_true", help="20 models, 90 days: about two hours")
    parser.add_argument("--write", action="store_true", help="write loadtest/results")
    parser.add_argument("--models", type=int, help="models of the quiet part, instead")
    parser.add_argument("--only", default="", help="streams whose names contain this")
    parser.add_argument("--seed", type=int, default=20)
    arguments = parser.parse_args()
    size = FULL if arguments.full else QUICK
    if arguments.models:
        size = replace(size, models=arguments.models, awake_models=min(2, arguments.models))
    rows = []
    for index, stream in enumerate(STREAMS):
        if arguments.only in stream.name:
            seed = arguments.seed + 100 * index
            rows.append(
                {
                    "stream": stream.name,
                    "seed": seed,
                    "quiet": quiet(stream, size, seed),
                    "awake": awake(stream, size, seed + 1),
                }
            )
            print(table(rows[-1:]).splitlines()[-1], flush=True)
            if arguments.write:  # what is there is kept, should it be stopped
                write(rows, size)
    print(table(rows))


def write(rows: Sequence[Mapping[str, Any]], size: Size) -> None:
    """Write the results as JSON, Markdown and a picture."""
    stem = RESULTS / "quiet-awake"
    stem.with_suffix(".json").write_text(
        json.dumps({"facts": facts.machine(), "size": vars_of(size), "rows": rows}, indent=1) + "\n"
    )
    stem.with_suffix(".md").write_text(
        f"Quiet: {size.models} models, {COLUMNS} columns, {size.days} days, windows of ten minutes "
        "and 1,000 rows; false alarms per model and 90 days, counted from the first window, with "
        "95 % Poisson bounds. Awake: a lasting shift of all rows of a column from day 28; rows "
        "until half and 90 % of the columns were told at the level of pages, and those that the "
        "most powerful test needs which knows dependence, season and level.\n\n" + table(rows)
    )
    draw(stem.with_suffix(".png"), rows)


def vars_of(size: Size) -> dict[str, int]:
    """Return the size as JSON values."""
    return {name: getattr(size, name) for name in size.__slots__}


if __name__ == "__main__":
    main()
