"""What `vigil watch` costs: Triton alone against the same Triton behind Vigil, in interleaved
rounds. `python -m loadtest.watch [--rounds N] [--seconds S]` writes `results/watch.{json,md}`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median

from rich.console import Console

from loadtest import facts, report
from loadtest.contenders import Contender
from loadtest.home import ROOT, bench_home
from loadtest.load import Load
from loadtest.peers import triton
from loadtest.process import (
    Server,
    free_ports,
    http_status,
    only_one,
    spawn,
    stop_on_sigterm,
    wait_ready,
)
from loadtest.race import Section, run_section
from loadtest.ratios import Sample, summarize
from loadtest.verify import Protocol
from loadtest.vigil import environment

SETTING = "no delay"
ALONE, WATCHED = "triton-alone", "triton-watched"
LOADS = (Load("json", 1), Load("json", 64), Load("grpc", 4, 16))
MAX_ADDED_P50_MS, MIN_SHARE = 1.0, 0.6
"""What is promised: the added median at one connection, the share of throughput at 64."""

_SPEAKS: frozenset[Protocol] = frozenset({"json", "grpc"})


def start_watched(home: Path) -> Server:
    """Start a Triton of its own and `vigil watch` in front of it; both end together."""
    upstream = triton.start(home, SETTING)
    try:
        http_port, grpc_port, admin_port = free_ports(3)
        command = [
            sys.executable, "-m", "serving.cli", "watch",
            "--upstream", f"127.0.0.1:{upstream.grpc_port}",
            "--data-dir", str((home / "vigil" / "watch").resolve()),
            "--http-port", str(http_port),
            "--grpc-port", str(grpc_port),
            "--admin-port", str(admin_port),
        ]  # fmt: skip
        log = home / "logs" / "watch.log"
        process = spawn(command, environment(), log)
    except BaseException:
        upstream.stop()
        raise
    server = Server(WATCHED, process, http_port, grpc_port, log, cleanup=upstream.stop)
    return wait_ready(server, lambda: http_status(http_port, "/v2/health/ready") == 200)


def promises(samples: Sequence[Sample]) -> dict[str, tuple[float, bool]]:
    """Return what was promised as (measured, kept): medians over rounds valid for both."""
    found: dict[str, tuple[float, bool]] = {}
    for load in LOADS:
        rounds = {
            (s.key, s.round): s.measurement for s in samples if s.valid and s.load == load.name
        }
        pairs = [
            (measured, rounds[ALONE, number])
            for (key, number), measured in rounds.items()
            if key == WATCHED and (ALONE, number) in rounds
        ]
        if not pairs:
            continue
        if load.connections == 1:
            added = median(ours.p50_ms - theirs.p50_ms for ours, theirs in pairs)
            found[f"{load.name}: added p50, ms"] = (round(added, 3), added <= MAX_ADDED_P50_MS)
        else:
            share = median(ours.requests_per_s / theirs.requests_per_s for ours, theirs in pairs)
            found[f"{load.name}: share of throughput"] = (round(share, 3), share >= MIN_SHARE)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and save; 1 when a round was invalid or somebody could not be raced."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.watch", description=__doc__)
    parser.add_argument("--rounds", type=int, choices=range(1, 21), default=5, metavar="N")
    parser.add_argument("--seconds", type=int, choices=range(1, 31), default=4, metavar="S")
    parser.add_argument("--name", default="watch", help="of the files in loadtest/results")
    options = parser.parse_args(arguments)
    stop_on_sigterm()
    console = Console() if Console().is_terminal else Console(width=130)
    if missing := facts.missing_tools():
        console.print(f"[red]missing:[/red] {', '.join(missing)}")
        return 1
    contenders = (
        Contender(ALONE, "triton alone", _SPEAKS, partial(triton.start, setting=SETTING)),
        Contender(WATCHED, "vigil watch in front of it", _SPEAKS, start_watched),
    )
    home = bench_home()
    with only_one(home):
        triton.install(home)
        section = Section("watch", contenders, LOADS)
        result = run_section(section, home, options.rounds, options.seconds, console.print)
    labels = {contender.key: contender.label for contender in contenders}
    summaries = summarize(result.samples, (ALONE,))
    report.show(console, summaries, labels)
    kept = promises(result.samples)
    for what, (measured, held) in kept.items():
        console.print(f"{what}: {measured} ({'kept' if held else '[red]NOT kept[/red]'})")
    known = facts.machine() | {
        "rounds": options.rounds,
        "seconds_per_round": options.seconds,
        "promised": f"added p50 at most {MAX_ADDED_P50_MS} ms, share at least {MIN_SHARE}",
        **{what: f"{measured} ({'kept' if held else 'not kept'})"
           for what, (measured, held) in kept.items()},
    }  # fmt: skip
    folder = ROOT / "loadtest" / "results"
    report.write(folder, options.name, known, summaries, result.samples, labels)
    for key, why in result.absent.items():
        console.print(f"[red]NOT RACED[/red] {key}: {why}", markup=True)
    return 1 if result.absent or any(not sample.valid for sample in result.samples) else 0


if __name__ == "__main__":
    raise SystemExit(main())
