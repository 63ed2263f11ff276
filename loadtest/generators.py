"""Are the generators quicker than any server? `python -m loadtest.generators [--write]`.

Every load of the race against a server that answers at once and looks at nothing
(`loadtest.null_server`): the rate is what the generator can do at most, and its processor time for
each request is what it takes from a server on the same cores. Loads with unique and with identical
requests alternate, and the first load is measured once more at the end of a round (A/A).
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import sys
from collections.abc import Iterator, Sequence
from statistics import median

from loadtest import facts, record
from loadtest.home import bench_home
from loadtest.load import LOADS, Load, Measurement, generate
from loadtest.process import Server, free_ports, only_one, spawn, stop_on_sigterm, wait_ready
from loadtest.vigil import environment

QUICK = ("json-64-unique", "json-64", "grpc-4x16-unique", "grpc-4x16")
AGAIN = " again"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 when an answer was missing or wrong."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.generators", description=__doc__)
    parser.add_argument("--rounds", type=int, choices=range(1, 21), default=3, metavar="N")
    parser.add_argument("--seconds", type=int, choices=range(1, 31), default=3, metavar="S")
    parser.add_argument("--quick", action="store_true", help="one short round of a few loads")
    parser.add_argument("--write", action="store_true", help="keep the results")
    options = parser.parse_args(arguments)
    stop_on_sigterm()
    loads = [load for load in LOADS if load.protocol != "image"]
    if options.quick:
        options.rounds, options.seconds = 1, 1
        loads = [load for load in loads if load.name in QUICK]
    known = {"command": facts.command("loadtest.generators", arguments)} | facts.machine()
    home = bench_home()
    with only_one(home), null_server() as null:
        found = _measure(null, loads, options.rounds, options.seconds)
    tables = [record.Table("What the generators can do", _COLUMNS, _rows(found))]
    samples = [
        {"load": name, "round": number, "requests_per_s": m.requests_per_s,
         "generator_cpu": m.generator_cpu, "problems": m.problems}
        for name, measured in found.items() for number, m in enumerate(measured)
    ]  # fmt: skip
    record.show("generators", known, tables)
    if options.write:
        record.write("generators", known, tables, samples)
    return int(any(m.problems for measured in found.values() for m in measured))


@contextlib.contextmanager
def null_server() -> Iterator[Server]:
    """Start `loadtest.null_server` as a child; it ends with the context."""
    (port,) = free_ports(1)
    log = bench_home() / "logs" / "null.log"
    command = [sys.executable, "-m", "loadtest.null_server", str(port)]
    server = Server("null", spawn(command, environment(), log), port, port, log)
    wait_ready(server, lambda: _listens(port))
    try:
        yield server
    finally:
        server.stop()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _measure(
    server: Server, loads: Sequence[Load], rounds: int, seconds: float
) -> dict[str, list[Measurement]]:
    found: dict[str, list[Measurement]] = {}
    for _ in range(rounds):
        names = [(load.name, load) for load in loads]
        for name, load in [*names, (f"{loads[0].name}{AGAIN}", loads[0])]:
            measured, _ = generate(server, load, seconds)
            print(f"{name:24} {measured.requests_per_s:9,.0f} /s", flush=True)
            found.setdefault(name, []).append(measured)
    return found


_COLUMNS = ("load", "requests/s at most", "generator's share of a core", "its us for each request")


def _rows(found: dict[str, list[Measurement]]) -> list[tuple[str, ...]]:
    rows = []
    for name, measured in found.items():
        rate = median(m.requests_per_s for m in measured)
        busy = median(m.generator_cpu for m in measured)
        cost = f"{busy / rate * 1e6:.1f}" if rate else "-"
        rows.append((name, f"{rate:,.0f}", f"{busy:.2f}", cost))
    return rows


if __name__ == "__main__":
    raise SystemExit(main())
