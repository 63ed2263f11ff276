"""`python -m loadtest.scheduling`: simulate, run, and write loadtest/results/scheduling.*."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean

from rich.progress import track

from loadtest import facts
from loadtest.scheduling import real, simulation
from loadtest.scheduling.plot import draw
from loadtest.scheduling.setting import CURVES, GOAL_S, LOADS, POLICIES, Case, cases

RESULTS = Path(__file__).parents[1] / "results"
EXPERIMENTS = ("simulated", "real")
Row = dict[str, float | str | list[float]]


def measure(
    how: str, goodput: Callable[[Case, float, int], float], seconds: float, seeds: int
) -> list[Row]:
    """Return one row per case: its shares of requests inside the goal, one per seed."""
    rows: list[Row] = []
    for case in track(list(cases()), how):
        shares = [goodput(case, seconds, seed) for seed in range(seeds)]
        rows.append(
            {
                "experiment": how,
                "curve": case.curve.name,
                "load": case.load,
                "policy": case.policy,
                "offered_per_s": round(case.load * case.curve.capacity, 1),
                "in_goal": round(mean(shares), 4),
                "each": [round(share, 4) for share in shares],
            }
        )
    return rows


def markdown(rows: Sequence[Row]) -> str:
    """Return the table: percent of all requests inside the goal, eager and deferred."""
    share = {(r["experiment"], r["curve"], r["load"], r["policy"]): r["in_goal"] for r in rows}
    lines = [
        f"Share of Poisson arrivals answered within {GOAL_S * 1e3:.0f} ms, one replica.",
        "",
        "| Batch costs | Load | "
        + " | ".join(f"{policy}, {how}" for how in EXPERIMENTS for policy in POLICIES)
        + " |",
        "|---" * (2 + len(EXPERIMENTS) * len(POLICIES)) + "|",
    ]
    for curve in CURVES:
        costs = f"{curve.name}: {curve.fixed * 1e3:g} ms + {curve.per_row * 1e3:g} ms per row"
        for load in LOADS:
            cells = [
                f"{float(str(share[how, curve.name, load, policy])):.1%}"
                for how in EXPERIMENTS
                for policy in POLICIES
            ]
            lines.append(f"| {costs} | {load:.0%} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run both experiments and save them."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.scheduling", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5, help="per case of the real run")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    machine = facts.machine()
    rows = measure("simulated", simulation.goodput, 120.0, 3)
    rows += measure("real", real.goodput, options.seconds, options.seeds)
    options.out.mkdir(parents=True, exist_ok=True)
    content = {"goal_s": GOAL_S, "machine": machine, "rows": rows}
    (options.out / "scheduling.json").write_text(json.dumps(content, indent=1) + "\n")
    (options.out / "scheduling.md").write_text(markdown(rows))
    draw(options.out / "scheduling.svg", rows)
    print(markdown(rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
