"""Latency at a sensible load: `python -m loadtest.open_loop [--rounds N] [--seconds S]`.

Poisson arrivals at 50, 80 and 95 % of what Triton's better setting can do at most, the same rate
for everybody, in interleaved rounds. Leaves `open-loop.json` and `.md` in `loadtest/results`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from loadtest import facts, mlp, vigil
from loadtest.load import Load, measure
from loadtest.peers import triton
from loadtest.process import Server, only_one, stop_on_sigterm
from loadtest.vigil import ROOT, Variant

SHARES = (0.5, 0.8, 0.95)
STARTS: dict[str, Callable[[Path], Server]] = {
    "triton, no delay": lambda home: triton.start(home, "no delay"),
    "triton, 1 ms delay": lambda home: triton.start(home, "1 ms delay"),
    "vigil, checks off": lambda home: vigil.start(home, Variant("local", checks=False)),
    "vigil, checks on": lambda home: vigil.start(home, Variant("local", checks=True)),
}
_COLUMNS = ("server", "offered/s", "answered", "p50 ms", "p99 ms", "p99 to Triton's better")


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.open_loop", description=__doc__)
    parser.add_argument("--rounds", type=int, choices=range(1, 21), default=3, metavar="N")
    parser.add_argument("--seconds", type=int, choices=range(1, 31), default=4, metavar="S")
    options = parser.parse_args()
    stop_on_sigterm()
    home = ROOT / ".bench"
    known = facts.machine() | {"rounds": options.rounds, "seconds_per_round": options.seconds}
    with only_one(home), ExitStack() as stack:
        triton.install(home)
        vigil.prepare(home)
        servers = {}
        for name, start in STARTS.items():
            print(f"starting {name}", flush=True)
            servers[name] = start(home)
            stack.callback(servers[name].stop)
        peak = max(
            measure(servers[name], Load("json", 64), 3).requests_per_s
            for name in servers
            if name.startswith("triton")
        )
        known["triton_peak_per_s"] = round(peak)
        samples = _race(servers, peak, options.rounds, options.seconds, home)
    return _write(known, samples)


def _race(
    servers: dict[str, Server], peak: float, rounds: int, seconds: float, home: Path
) -> list[dict[str, Any]]:
    samples = []
    body = mlp.json_body(mlp.rows(1))
    for share in SHARES:
        for number in range(rounds):
            for name, server in servers.items():
                head = (
                    f"POST {mlp.INFER_PATH} HTTP/1.1\r\nHost: 127.0.0.1:{server.http_port}\r\n"
                    f"Content-Type: application/json\r\nContent-Length: {len(body.data)}\r\n\r\n"
                )
                (home / "request").write_bytes(head.encode() + body.data)
                command = [sys.executable, "-m", "loadtest.poisson", str(home / "request")]
                command += [str(server.http_port), str(peak * share), str(seconds), str(number)]
                done = subprocess.run(
                    command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
                )
                sample = {"share": share, "round": number, "server": name}
                sample |= json.loads(done.stdout)
                print(
                    f"{share:4.0%} round {number + 1}: {name:20} p50 {sample['p50_ms']:8.2f} ms"
                    f"  p99 {sample['p99_ms']:8.2f} ms", flush=True,
                )  # fmt: skip
                samples.append(sample)
    return samples


def _write(known: dict[str, Any], samples: list[dict[str, Any]]) -> int:
    lines = ["# open-loop", "", *[f"- {k.replace('_', ' ')}: {v}" for k, v in known.items()], ""]
    lines += ["Poisson arrivals, JSON, one row; medians over rounds. p99 counts from the moment a"]
    lines += ["request should have been sent; ratios are made in each round.", ""]
    bad = 0
    for share in SHARES:
        lines += [f"## {share:.0%} of Triton's peak", "", "| " + " | ".join(_COLUMNS) + " |"]
        lines += ["|---|" + "---:|" * (len(_COLUMNS) - 1)]
        chosen = [s for s in samples if s["share"] == share]
        better = _better(chosen)
        for name in STARTS:
            mine = [s for s in chosen if s["server"] == name]
            bad += sum(s["wrong"] + s["lost_connections"] for s in mine)
            ratio = median(s["p99_ms"] / better[s["round"]] for s in mine)
            whole = sum(s["answered"] for s in mine) / sum(s["of"] for s in mine)
            lines.append(
                f"| {name} | {mine[0]['offered_per_s']:.0f} | {whole:.1%} "
                f"| {median(s['p50_ms'] for s in mine):.2f} "
                f"| {median(s['p99_ms'] for s in mine):.2f} | {ratio:.2f} |"
            )
        lines.append("")
    folder = ROOT / "loadtest" / "results"
    (folder / "open-loop.md").write_text("\n".join(lines))
    (folder / "open-loop.json").write_text(
        json.dumps({"facts": known, "samples": samples}, indent=1) + "\n"
    )
    print("\n".join(lines))
    return 1 if bad else 0


def _better(samples: list[dict[str, Any]]) -> dict[int, float]:
    """Return for each round the p99 of that Triton whose median is the lower one."""
    names = [name for name in STARTS if name.startswith("triton")]
    best = min(names, key=lambda n: median(s["p99_ms"] for s in samples if s["server"] == n))
    return {s["round"]: s["p99_ms"] for s in samples if s["server"] == best}


if __name__ == "__main__":
    raise SystemExit(main())
