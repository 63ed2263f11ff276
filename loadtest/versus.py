"""Races this checkout against another one: `python -m loadtest.versus OTHER --write`.

OTHER is a checkout with an environment of its own in `.venv`. Both serve the raced models without
checks at the same time. Each round measures the other one twice, which is the A/A control, with
this one in between.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from loadtest import vigil
from loadtest.facts import machine
from loadtest.home import ROOT
from loadtest.load import Load, measure
from loadtest.process import Server

LOADS: Final = (Load("json", 1), Load("json", 64), Load("grpc", 4, 16))
SECONDS: Final = 2.0
START_S: Final = 120.0


def main() -> None:
    """Race and print; with --write, keep the ratios in `loadtest/results/versus.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", type=Path, help="the other checkout")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    facts = machine()
    with tempfile.TemporaryDirectory() as folder:
        homes = [Path(folder) / name for name in ("other", "this")]
        started = [
            _start(checkout.resolve(), home)
            for checkout, home in zip((options.other, ROOT), homes, strict=True)
        ]
        try:
            other, this = (
                _server(process, home) for process, home in zip(started, homes, strict=True)
            )
            found = {load.name: _race(other, this, load, options.rounds) for load in LOADS}
        finally:
            for process, home in zip(started, homes, strict=True):
                (home / "stop").touch()
                process.wait(60)
    if options.write:
        text = json.dumps(
            {
                "command": f"python -m loadtest.versus OTHER --rounds {options.rounds} --write",
                "other_commit": _commit(options.other),
                "machine": facts,
                "rounds": options.rounds,
                "loads": found,
            },
            indent=2,
        )
        (ROOT / "loadtest" / "results" / "versus.json").write_text(text + "\n")


def serve(home: Path) -> None:
    """Serve until there is a file `stop` in `home`; tell the ports in `ports.json`."""
    vigil.prepare(home)
    server = vigil.start(home, vigil.Variant("local", checks=False))
    (home / "ports.new").write_text(json.dumps([server.http_port, server.grpc_port]))
    (home / "ports.new").rename(home / "ports.json")
    while not (home / "stop").exists():
        time.sleep(0.2)
    server.stop()


def _start(checkout: Path, home: Path) -> subprocess.Popen[bytes]:
    home.mkdir()
    # The other checkout may not have this module, so its own are called by their names.
    return subprocess.Popen(
        [checkout / ".venv/bin/python", "-P", Path(__file__), "--serve", home],
        env={**os.environ, "PYTHONPATH": str(checkout)},
        cwd=checkout,
    )


def _server(process: subprocess.Popen[bytes], home: Path) -> Server:
    ends = time.monotonic() + START_S
    while not (home / "ports.json").exists():
        if process.poll() is not None or time.monotonic() > ends:
            raise SystemExit(f"the server of {home.name} did not start; its output is above")
        time.sleep(0.2)
    http_port, grpc_port = json.loads((home / "ports.json").read_text())
    return Server(home.name, process, http_port, grpc_port, home / "log")


def _race(other: Server, this: Server, load: Load, rounds: int) -> dict[str, Any]:
    ratios, control, rates = [], [], []
    for _ in range(rounds):
        before, now, again = (
            measure(server, load, SECONDS).requests_per_s for server in (other, this, other)
        )
        ratios.append(2 * now / (before + again))
        control.append(again / before)
        rates.append(before)
    found = {"other_per_s": statistics.median(rates), "this_to_other": _told(ratios),
             "control": _told(control)}  # fmt: skip
    print(load.name, found, flush=True)
    return found


def _commit(checkout: Path) -> str:
    command = ["git", "-C", checkout, "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _told(ratios: list[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(ratios), 3),
        "least": round(min(ratios), 3),
        "most": round(max(ratios), 3),
    }


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(Path(sys.argv[2]))
    else:
        main()
