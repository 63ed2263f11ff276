"""How long from the command to the first right answer: `python -m loadtest.startup`."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from loadtest import facts
from loadtest.contenders import CONTENDERS, Contender, prepare
from loadtest.home import ROOT, bench_home
from loadtest.process import ServerError, only_one, stop_on_sigterm
from loadtest.verify import check

DEFAULT = ("vigil-local-off", "vigil-local-on", "vigil-ray-off", "triton-eager", "rayserve-default")
ANSWER_LIMIT_S = 60


def first_answer(contender: Contender, home: Path) -> float:
    """Start `contender`, wait for a right answer, stop it; return the seconds it took.

    Raises:
        ServerError: it did not start, or gave no right answer in time.
    """
    began = time.perf_counter()
    server = contender.start(home)
    try:
        while True:
            try:
                check(server, "json")
                return time.perf_counter() - began
            except ServerError:
                if time.perf_counter() - began > ANSWER_LIMIT_S or not server.alive():
                    raise
                time.sleep(0.02)
    finally:
        server.stop()


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and save; 1 when somebody did not start."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.startup", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default=",".join(DEFAULT), help="keys, separated by commas")
    parser.add_argument("--name", default="startup")
    options = parser.parse_args(arguments)
    stop_on_sigterm()
    with only_one(bench_home()):
        return _measure(options)


def _measure(options: argparse.Namespace) -> int:
    keys = options.only.split(",")
    chosen = [contender for contender in CONTENDERS if contender.key in keys]
    home = bench_home()
    prepare(home, chosen)
    times: dict[str, list[float]] = {contender.key: [] for contender in chosen}
    failed: dict[str, str] = {}
    console = Console()
    with Progress(console=console) as progress:
        task = progress.add_task("starting", total=options.rounds * len(chosen))
        for _ in range(options.rounds):
            for contender in chosen:
                progress.update(task, description=contender.label)
                try:
                    times[contender.key].append(first_answer(contender, home))
                except ServerError as error:
                    failed[contender.key] = str(error)
                progress.advance(task)
    _show(console, chosen, times, failed)
    result = {"facts": facts.machine(), "seconds": times, "failed": failed}
    path = ROOT / "loadtest" / "results" / f"{options.name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    return 1 if failed else 0


def _show(
    console: Console, chosen: Sequence[Contender], times: dict[str, list[float]],
    failed: dict[str, str],
) -> None:  # fmt: skip
    table = Table("contender", "median s", "range", "starts", title="command to first answer")
    for contender in chosen:
        if each := times[contender.key]:
            span = f"{min(each):.2f}-{max(each):.2f}"
            table.add_row(contender.label, f"{median(each):.2f}", span, str(len(each)))
    console.print(table)
    for key, why in failed.items():
        console.print(f"[red]FAILED[/red] {key}: {escape(why)}")


if __name__ == "__main__":
    raise SystemExit(main())
