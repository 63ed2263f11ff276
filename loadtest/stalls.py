"""What one client can do to another's latency: `python -m loadtest.stalls [--write]`.

One gateway. A client that behaves sends inferences at a steady rate (Poisson arrivals; latency
counts from when a request should have been sent, so a stall is charged to all that came in it),
while one attacker of `loadtest.attacks` has one connection. There are two controls: `none` attacks
nobody, and `elsewhere` a server beside the gateway, which shows what the attacker's own need of
processor time does where there are few cores.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from loadtest import facts, mlp, record, vigil
from loadtest.attacks import ATTACKS
from loadtest.generators import null_server
from loadtest.home import ROOT, bench_home
from loadtest.process import Server, only_one, stop_on_sigterm
from loadtest.verify import check

RATE: Final = 200
"""Requests a second of the client that behaves: far under what a gateway can do."""
TARGET_MS: Final = 20.0
"""Its p99 under each attack should be at most this."""
NONE: Final = "none"
ELSEWHERE: Final = "elsewhere"
QUICK: Final = ("one-byte-chunks", "huge-lengths", "pipelined")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 when an answer of the client that behaves was wrong or missing."""
    options = _parser().parse_args(arguments)
    stop_on_sigterm()
    names = [NONE, ELSEWHERE, *ATTACKS]
    if options.quick:
        options.rounds, options.seconds = 1, 2
        names = [NONE, ELSEWHERE, *QUICK]
    known = {"command": facts.command("loadtest.stalls", arguments)} | facts.machine()
    known |= {"rounds": options.rounds, "seconds": options.seconds, "requests_per_s": RATE}
    home = bench_home()
    samples = []
    with only_one(home), null_server() as beside:
        vigil.prepare(home)
        server = vigil.start(home, vigil.Variant("local", checks=True))
        try:
            for number in range(options.rounds):
                for name in [*names, NONE]:
                    sample = {"round": number, "attack": name}
                    sample |= _measure(server, beside, name, options.seconds, number)
                    print(json.dumps(sample), flush=True)
                    samples.append(sample)
        finally:
            server.stop()
    tables = [_table(samples)]
    record.show("stalls", known, tables)
    if options.write:
        record.write("stalls", known, tables, samples)
    return int(any(s["wrong"] or s["answered"] < s["of"] for s in samples))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest.stalls", description=__doc__)
    parser.add_argument("--rounds", type=int, choices=range(1, 11), default=3, metavar="N")
    parser.add_argument("--seconds", type=int, choices=range(1, 31), default=6, metavar="S")
    parser.add_argument("--quick", action="store_true", help="one short round of three attacks")
    parser.add_argument("--write", action="store_true", help="keep the results")
    return parser


def _measure(
    server: Server, beside: Server, name: str, seconds: float, seed: int
) -> dict[str, Any]:
    check(server, "json")
    if name == NONE:
        return _client(server, seconds, seed) | {"connections": 0, "sent_mb": 0.0}
    victim, attack = (beside, "pipelined") if name == ELSEWHERE else (server, name)
    command = [sys.executable, "-m", "loadtest.attacks", attack, str(victim.http_port)]
    attacker = subprocess.Popen(
        [*command, str(seconds + 3)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert attacker.stdout is not None
        attacker.stdout.readline()  # it begins
        found = _client(server, seconds, seed)
        told = attacker.communicate(timeout=30)[0]
    finally:
        if attacker.poll() is None:
            attacker.kill()
            attacker.wait()
    check(server, "json")
    return found | json.loads(told)


def _client(server: Server, seconds: float, seed: int) -> dict[str, Any]:
    body = mlp.json_body(mlp.rows(1))
    head = (
        f"POST {mlp.INFER_PATH} HTTP/1.1\r\nHost: 127.0.0.1:{server.http_port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body.data)}\r\n\r\n"
    )
    with tempfile.TemporaryDirectory(prefix="vb-") as work:
        path = Path(work) / "request"
        path.write_bytes(head.encode() + body.data)
        command = [sys.executable, "-m", "loadtest.poisson", str(path), str(server.http_port)]
        command += [str(RATE), str(seconds), str(seed)]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=seconds + 60
        )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _table(samples: Sequence[dict[str, Any]]) -> record.Table:
    rows = []
    for name in dict.fromkeys(s["attack"] for s in samples):
        mine = [s for s in samples if s["attack"] == name]
        p99 = median(s["p99_ms"] for s in mine)
        rows.append(
            (
                name,
                f"{median(s['p50_ms'] for s in mine):.2f}",
                f"{p99:.1f}{'' if p99 <= TARGET_MS else ' (over the target)'}",
                f"{max(s['p99_ms'] for s in mine):.1f}",
                f"{median(s['connections'] for s in mine):.0f}",
                f"{median(s['sent_mb'] for s in mine):.1f}",
            )
        )
    columns = ("attack", "p50 ms", "p99 ms", "worst p99 ms", "its connections", "its MB")
    note = (
        f"Latency of another client with {RATE} requests a second; medians over rounds. The target "
        f"is a p99 of at most {TARGET_MS:.0f} ms."
    )
    return record.Table("Another client's latency", columns, rows, note)


if __name__ == "__main__":
    raise SystemExit(main())
