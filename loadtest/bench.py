"""The race: `python -m loadtest.bench [--rounds N] [--seconds S] [--only KEYS] [--quick]`.

Starts every contender on loopback, measures them in interleaved rounds and prints medians and
ratios; with --write, leaves JSON, Markdown and a picture in `loadtest/results`. Ends by itself;
exit status 1 when a round was invalid or somebody could not be raced.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from loadtest import facts, plot, report
from loadtest.contenders import CONTENDERS, TRITON, Contender, prepare
from loadtest.home import ROOT, bench_home
from loadtest.load import LOADS, Load
from loadtest.process import only_one, stop_on_sigterm
from loadtest.race import Section, SectionResult, run_section, sections
from loadtest.ratios import summarize

QUICK_LOADS = "json-1-unique,json-64-unique,json-64,binary-64-unique,grpc-4x16-unique"
RAY_LOADS = "json-1-unique,json-64-unique,grpc-4x16-unique"
_OVERHEAD_S = 1.5  # warm-up and checks around each measurement
_START_S = 12  # a section's slowest start and stop, roughly


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the race that the command line asks for."""
    options = _parser().parse_args(arguments)
    stop_on_sigterm()
    if options.quick:
        options.rounds, options.seconds, options.loads = 2, 1, QUICK_LOADS
    # Logs and pipes claim 80 columns; the tables need more.
    console = Console() if Console().is_terminal else Console(width=130)
    if missing := facts.missing_tools():
        console.print(f"[red]missing:[/red] {', '.join(missing)}")
        return 1
    chosen = _choose(options)
    loads, ray_loads = _loads(options.loads), _loads(options.ray_loads)
    plan = sections(chosen, loads, ray_loads)
    home = bench_home()
    known = {"command": facts.command("loadtest.bench", arguments)} | facts.machine()
    known |= {"rounds": options.rounds, "seconds_per_round": options.seconds}
    _announce(console, plan, options.rounds, options.seconds)
    results: list[SectionResult] = []
    with only_one(home):
        prepare(home, chosen)
        try:
            _run(console, plan, options.rounds, options.seconds, results)
        finally:  # an interrupted race keeps the sections that were finished
            name = options.name or ("quick" if options.quick else "race")
            status = _finish(console, name if options.write else None, known, results)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest.bench", description=__doc__)
    keys = ", ".join(contender.key for contender in CONTENDERS)
    parser.add_argument("--rounds", type=int, choices=range(1, 21), default=5, metavar="N")
    parser.add_argument("--seconds", type=int, choices=range(1, 31), default=4, metavar="S")
    parser.add_argument("--only", help=f"keys or their beginnings, by commas, of: {keys}")
    parser.add_argument("--loads", default=",".join(load.name for load in LOADS))
    parser.add_argument("--ray-loads", default=RAY_LOADS, help="loads of the sections with Ray")
    parser.add_argument("--quick", action="store_true", help="about 3 minutes, without Ray")
    parser.add_argument("--write", action="store_true", help="keep the results")
    parser.add_argument("--name", help="of the files in loadtest/results")
    return parser


def _choose(options: argparse.Namespace) -> list[Contender]:
    if not options.only:
        return [c for c in CONTENDERS if not (options.quick and c.ray)]
    wanted = tuple(options.only.split(","))
    chosen = [c for c in CONTENDERS if c.key.startswith(wanted)]
    if unknown := [w for w in wanted if not any(c.key.startswith(w) for c in chosen)]:
        raise SystemExit(f"--only: nobody is called {', '.join(unknown)}")
    return chosen


def _loads(names: str) -> list[Load]:
    by_name = {load.name: load for load in LOADS}
    if unknown := [name for name in names.split(",") if name not in by_name]:
        raise SystemExit(f"no load {', '.join(unknown)}; there are {', '.join(by_name)}")
    return [by_name[name] for name in names.split(",")]


def _announce(console: Console, plan: Sequence[Section], rounds: int, seconds: float) -> None:
    steps = sum(section.steps(rounds) for section in plan)
    minutes = (steps * (seconds + _OVERHEAD_S) + len(plan) * _START_S) / 60
    console.print(f"{len(plan)} sections, {steps} measurements, about {minutes:.0f} minutes")
    if os.getloadavg()[0] > 0.5:
        console.print(
            "[yellow]This machine is busy with something else (load average "
            f"{os.getloadavg()[0]:.1f}): trust ratios little and figures not at all.[/yellow]"
        )


def _run(
    console: Console,
    plan: Sequence[Section],
    rounds: int,
    seconds: float,
    results: list[SectionResult],
) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        for section in plan:
            task = progress.add_task(section.name, total=section.steps(rounds))

            def step(what: str, task=task, section=section) -> None:  # type: ignore[no-untyped-def]
                starting = what.startswith("starting")
                progress.update(task, description=f"{section.name}: {what}")
                progress.advance(task, 0 if starting else 1)

            results.append(run_section(section, bench_home(), rounds, seconds, step))


def _finish(
    console: Console, name: str | None, known: dict[str, object], results: Sequence[SectionResult]
) -> int:
    samples = [sample for result in results for sample in result.samples]
    absent = {key: why for result in results for key, why in result.absent.items()}
    known["idle_cpu"] = {k: share for result in results for k, share in result.idle_cpu.items()}
    known["absent"] = {key: why.splitlines()[0] for key, why in absent.items()}
    labels = {contender.key: contender.label for contender in CONTENDERS}
    summaries = summarize(samples, TRITON)
    report.show(console, summaries, labels)
    if name is not None:
        folder = ROOT / "loadtest" / "results"
        report.write(folder, name, known, summaries, samples, labels)
        plot.draw(folder / f"{name}.svg", summaries, labels)
    for key, why in absent.items():
        console.print(f"[red]NOT RACED[/red] {key}: {escape(why)}")
    return 1 if absent or any(not sample.valid for sample in samples) else 0


if __name__ == "__main__":
    raise SystemExit(main())
