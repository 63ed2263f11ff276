"""What it costs to record everything: `python -m loadtest.everything [--rounds N] [--seconds S]`.

Three servers of the same checkout. `bare` records nothing. `recording` has what the promise names:
the whole prediction log, metrics, 1 % of the traces to a collector, drift and fairness. `guarded`
has the schema guard and the Mahalanobis guard as well. Each round measures the bare one twice,
which is the A/A control, with the others in between: at saturation, and in an open loop at half of
what the bare one answers in an open loop that offers more. Leaves `everything.json` in
`loadtest/results`; with the default options it takes less than ten minutes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from loadtest import facts, mlp, vigil
from loadtest.home import ROOT
from loadtest.load import LOADS, Load, measure
from loadtest.process import Server, metric, only_one, stop_on_sigterm
from loadtest.ratios import Compared, compared

KNOWN: Final = {load.name: load for load in LOADS}
DEFAULT: Final = "json-1,json-64,grpc-4x16,json-64-unique,grpc-4x16-unique"
HALF: Final = 0.5
STATES: Final = {
    "bare": vigil.Variant("local", checks=False),
    "recording": vigil.Variant("local", checks=True, record=True, guards=False),
    "guarded": vigil.Variant("local", checks=True, record=True),
}
MEANS: Final = {
    "bare": "nothing is recorded; metrics are counted, and nobody reads them",
    "recording": "what is promised: full prediction log, metrics, 1 % of traces, drift, fairness",
    "guarded": "the same, and the guards schema and mahalanobis",
}
PROMISED: Final = {"recording_to_bare": 0.8, "p99_recording_to_bare": 1.1}
"""The least share of the throughput, and the largest ratio of the p99."""


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.everything", description=__doc__)
    parser.add_argument("--rounds", type=int, choices=range(1, 31), default=4, metavar="N")
    parser.add_argument("--seconds", type=int, choices=range(1, 31), default=3, metavar="S")
    parser.add_argument("--loads", default=DEFAULT, help=f"of {', '.join(KNOWN)}")
    options = parser.parse_args()
    stop_on_sigterm()
    home = ROOT / ".bench"
    known = facts.machine()
    known["command"] = facts.command("loadtest.everything", None)
    loads = [KNOWN[name] for name in options.loads.split(",")]
    with only_one(home), ExitStack() as stack:
        collector = stack.enter_context(_collector())
        vigil.prepare(home)
        servers = {
            name: vigil.start(home, replace(variant, collector=collector if name != "bare" else ""))
            for name, variant in STATES.items()
        }
        for server in servers.values():
            stack.callback(server.stop)
        found = {}
        for load in loads:
            found[load.name] = _saturated(servers, load, options.rounds, options.seconds)
            print(load.name, found[load.name], flush=True)
        most = measure(servers["bare"], KNOWN["json-64"], options.seconds).requests_per_s
        peak = _told(servers["bare"], most, options.seconds, 0, home)["answered_per_s"]
        loop = _open_loop(servers, HALF * peak, options.rounds, options.seconds, home)
        print("open loop", loop, flush=True)
    told = {
        "machine": known, "states": MEANS, "promised": PROMISED, "rounds": options.rounds,
        "saturated": found, "open_loop": loop,
    }  # fmt: skip
    (ROOT / "loadtest" / "results" / "everything.json").write_text(
        json.dumps(told, indent=2) + "\n"
    )
    return 0


def _saturated(
    servers: dict[str, Server], load: Load, rounds: int, seconds: float
) -> dict[str, Any]:
    def rate(server: Server, _round: int) -> float:
        measured = measure(server, load, seconds)
        if measured.problems:
            raise SystemExit(f"{load.name} against {server.name}: {', '.join(measured.problems)}")
        return measured.requests_per_s

    told = _compared(rate, servers, rounds)
    return {
        "bare_per_s": round(told.first),
        **{f"{name}_to_bare": asdict(ratio) for name, ratio in told.ratios.items()},
        "control": asdict(told.control),
    }


def _open_loop(
    servers: dict[str, Server], rate: float, rounds: int, seconds: float, home: Path
) -> dict[str, Any]:
    client: list[dict[str, float]] = []

    def p99_ms(server: Server, number: int) -> float:
        # All of a round get the same arrivals.
        client.append(_told(server, rate, seconds, number, home))
        return client[-1]["p99_ms"]

    recording = [server for name, server in servers.items() if name != "bare"]
    before = sum(map(_dropped, recording))
    told = _compared(p99_ms, servers, rounds)
    return {
        "offered_per_s": round(rate),
        "bare_p99_ms": round(told.first, 3),
        **{f"p99_{name}_to_bare": asdict(ratio) for name, ratio in told.ratios.items()},
        "control": asdict(told.control),
        "dropped": sum(map(_dropped, recording)) - before,
        "client_late_p99_ms": round(max(each["late_p99_ms"] for each in client), 3),
        "client_cpu": round(max(each["cpu"] for each in client), 3),
    }


def _compared(
    measured: Callable[[Server, int], float], servers: dict[str, Server], rounds: int
) -> Compared:
    asked = {name: partial(measured, server) for name, server in servers.items()}
    return compared(asked.pop("bare"), asked, rounds)


def _told(server: Server, rate: float, seconds: float, seed: int, home: Path) -> dict[str, float]:
    """Return what the client of an open loop has measured."""
    body = mlp.json_body(mlp.rows(1))
    head = (
        f"POST {mlp.INFER_PATH} HTTP/1.1\r\nHost: 127.0.0.1:{server.http_port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body.data)}\r\n\r\n"
    )
    (home / "request").write_bytes(head.encode() + body.data)
    command = [sys.executable, "-m", "loadtest.paced", str(home / "request")]
    command += [str(server.http_port), str(rate), str(seconds), str(seed)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    )
    told: dict[str, float] = json.loads(done.stdout)
    return told


def _dropped(server: Server) -> float:
    """Return how many events and rows of the log were dropped or lost, as `/metrics` tells."""
    time.sleep(3)  # totals are reported once a second
    names = ("vigil_events_dropped_total", "vigil_events_lost_total", "vigil_store_dropped_total")
    return sum(metric(server, name) for name in names)


@contextmanager
def _collector() -> Iterator[str]:
    """Run a collector that takes everything and keeps nothing; yields its address."""

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Taking)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    sys.exit(main())
