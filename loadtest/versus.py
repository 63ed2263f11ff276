"""Races this checkout against another one: `python -m loadtest.versus OTHER --write`.

OTHER is a checkout with an environment of its own in `.venv`. Both serve the raced models at the
same time, without checks unless `--checks` is given. Each round measures the other one twice, which
is the A/A control, with this one in between.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from loadtest import vigil
from loadtest.facts import machine
from loadtest.home import ROOT
from loadtest.load import LOADS, Load, measure
from loadtest.process import Server
from loadtest.ratios import paired

KNOWN: Final = {load.name: load for load in LOADS}
DEFAULT: Final = "json-1,json-64,grpc-4x16,json-1-unique,json-64-unique,grpc-4x16-unique"
SECONDS: Final = 2.0
START_S: Final = 120.0


def main() -> None:
    """Race and print; with --write, keep the ratios in `loadtest/results/versus.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", type=Path, help="the other checkout")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--loads", default=DEFAULT, help=f"of {', '.join(KNOWN)}")
    parser.add_argument("--checks", action="store_true", help="with guards, drift and metrics")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    loads = [KNOWN[name] for name in options.loads.split(",")]
    facts = machine()
    with tempfile.TemporaryDirectory() as folder:
        homes = [Path(folder) / name for name in ("other", "this")]
        started = [
            _start(checkout.resolve(), home, checks=options.checks)
            for checkout, home in zip((options.other, ROOT), homes, strict=True)
        ]
        try:
            other, this = (
                _server(process, home) for process, home in zip(started, homes, strict=True)
            )
            found = {load.name: _race(other, this, load, options.rounds) for load in loads}
        finally:
            for process, home in zip(started, homes, strict=True):
                (home / "stop").touch()
                process.wait(60)
    if options.write:
        text = json.dumps(
            {
                "command": " ".join(["python -m loadtest.versus OTHER", *sys.argv[2:]]),
                "checks": options.checks,
                "other_commit": _commit(options.other),
                "machine": facts,
                "rounds": options.rounds,
                "loads": found,
            },
            indent=2,
        )
        (ROOT / "loadtest" / "results" / "versus.json").write_text(text + "\n")


def serve(home: Path, *, checks: bool) -> None:
    """Serve until there is a file `stop` in `home`; tell the ports in `ports.json`."""
    vigil.prepare(home)
    server = vigil.start(home, vigil.Variant("local", checks=checks))
    (home / "ports.new").write_text(json.dumps([server.http_port, server.grpc_port]))
    (home / "ports.new").rename(home / "ports.json")
    while not (home / "stop").exists():
        time.sleep(0.2)
    server.stop()


def _start(checkout: Path, home: Path, *, checks: bool) -> subprocess.Popen[bytes]:
    home.mkdir()
    # The other checkout may not have this module, so its own are called by their names.
    return subprocess.Popen(
        [
            checkout / ".venv/bin/python",
            "-P",
            Path(__file__),
            "--serve",
            home,
            "on" if checks else "off",
        ],
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
    def rate(server: Server) -> float:
        return measure(server, load, SECONDS).requests_per_s

    told = paired(lambda _: rate(other), lambda _: rate(this), rounds)
    found = {
        "other_per_s": told.first,
        "this_to_other": asdict(told.ratio),
        "control": asdict(told.control),
    }
    print(load.name, found, flush=True)
    return found


def _commit(checkout: Path) -> str:
    command = ["git", "-C", checkout, "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(Path(sys.argv[2]), checks=sys.argv[3] == "on")
    else:
        main()
