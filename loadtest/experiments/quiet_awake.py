"""`python -m loadtest.experiments.quiet_awake`: are alarms quiet on streams without a change, and
awake on the same streams with one? Writes loadtest/results/quiet-awake.*."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np

from loadtest import facts
from loadtest.experiments import planted_rows, quiet_awake_targets, rare_shares
from loadtest.experiments.quiet_streams import COLUMNS, FULL, QUICK, SHIFTS, Size, awake, quiet
from loadtest.experiments.window_streams import STREAMS
from monitors.alarms.budget import SEVERITIES

RESULTS: Final = Path(__file__).parents[1] / "results"

Figures = Mapping[str, Any]


def table(rows: Sequence[Figures]) -> str:
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
        for each in row["awake"]["shifts"]:
            cells += [
                f"{_rows(each['median_rows'])}, {_rows(each['rows_of_90_percent'])}",
                _rows(each["oracle_rows"]),
                "-" if each["times_oracle"] is None else f"{each['times_oracle']:.1f}",
            ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _rows(value: float | None) -> str:
    return "not found" if value is None else f"{value:,.0f}"


def draw(path: Path, rows: Sequence[Figures]) -> None:
    """Write an SVG: false alarms against the stated number, and rows against the oracle's."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "vigil"  # the same figures give the same file
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
        times = [row["awake"]["shifts"][index]["times_oracle"] for row in rows]
        right.plot([np.nan if t is None else t for t in times], place, mark, label=f"{shift} sd")
    right.axvline(2, color="grey", linestyle=":")
    right.set_xscale("log")
    right.set_xlabel("rows to the alarm, times those of an oracle", fontsize=8)
    right.legend(fontsize=8)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="20 models, 90 days: about an hour")
    parser.add_argument("--write", action="store_true", help="write loadtest/results")
    parser.add_argument("--only", default="", help="streams whose names contain this, alone")
    parser.add_argument("--seed", type=int, default=20)
    told = parser.parse_args()
    size = FULL if told.full else QUICK
    began = time.monotonic()
    found: dict[str, Any] = {
        "command": facts.command("loadtest.experiments.quiet_awake", None),
        "machine": facts.machine(),
        "seed": told.seed,
        "size": asdict(size),
        "planted": [],
        "rare_shares": [],
        "streams": [],
        "microseconds_a_row": planted_rows.cost(told.seed),
    }
    if not told.only:
        found["planted"] = planted_rows.measure(full=told.full, seed=told.seed)
        kinds = rare_shares.KINDS if told.full else rare_shares.KINDS[3:4]
        found["rare_shares"] = [rare_shares.told(kind, told.seed) for kind in kinds]
        print(_of_rows(found), flush=True)
    for index, stream in enumerate(STREAMS):
        if told.only not in stream.name:
            continue
        seed = told.seed + 100 * index
        one = {
            "stream": stream.name,
            "seed": seed,
            "quiet": quiet(stream, size, seed),
            "awake": awake(stream, size, seed + 1, ramps=index == 0),
        }
        found["streams"].append(one)
        found["minutes"] = round((time.monotonic() - began) / 60, 1)
        print(table([one]).splitlines()[-1], flush=True)
        if told.write:  # what is there is kept, should it be stopped
            write(found, size)
    print(quiet_awake_targets.table(quiet_awake_targets.targets(found)))


def _of_rows(found: Figures) -> str:
    return quiet_awake_targets.table(quiet_awake_targets.targets({**found, "streams": []}))


def write(found: Figures, size: Size) -> None:
    """Write the results as JSON, Markdown and a picture."""
    stem = RESULTS / "quiet-awake"
    stem.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
    stem.with_suffix(".md").write_text(report(found, size))
    draw(stem.with_suffix(".svg"), found["streams"])


def report(found: Figures, size: Size) -> str:
    """Return the results as Markdown."""
    held = quiet_awake_targets.targets(found)
    met = sum(one.met for one in held)
    there = {one["stream"] for one in found["streams"]}
    lacking = [stream.name for stream in STREAMS if stream.name not in there]
    stopped = f" Not simulated: {'; '.join(lacking)}." if lacking else ""
    return (
        "# Quiet and awake\n\n"
        f"{met} of {len(held)} targets are met (seed {found['seed']}, {found['minutes']:g} min)."
        f"{stopped} Streams are of windows of ten minutes and 1,000 rows.\n\n"
        f"Quiet: {size.models} models, {COLUMNS} columns, {size.days} days; false alarms per model "
        "and 90 days, counted from the first window, with 95 % Poisson bounds. Awake: a lasting "
        f"shift of all rows of a column from day {size.known}; rows until half and 90 % of the "
        "columns were told at the level of pages, and those that the most powerful test needs "
        "which knows dependence, season and level. Rows: 30 columns of rows through the monitor of "
        "drift at the level of pages; the change is in one column, or one pair.\n\n"
        f"{table(found['streams'])}\n## Targets\n\n{quiet_awake_targets.table(held)}\n"
        "![False alarms and delays by stream](quiet-awake.svg)\n"
    )


if __name__ == "__main__":
    main()
