"""How much a gateway still answers when far too much is asked: `python -m loadtest.overload`.

Closed loops of 8 to 512 connections, each with one request under way, with 1, 20 and 200 rows in
JSON, binary tensors and gRPC, against one gateway with its checks on. No two requests are alike,
and a client that is refused asks again at once. Goodput is what was answered rightly; the share of
the best at 64 times the fewest connections says whether refusing costs what answering needs.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from loadtest import facts, record, unique, vigil
from loadtest.home import bench_home
from loadtest.load import replay
from loadtest.process import Server, only_one, stop_on_sigterm
from loadtest.verify import Protocol, check

CONNECTIONS: Final = (8, 16, 32, 64, 128, 256, 512)
ROWS: Final = (1, 20, 200)
PROTOCOLS: Final[tuple[Protocol, ...]] = ("json", "binary", "grpc")
LOADS: Final = {f"{protocol}-{rows}": (protocol, rows) for protocol in PROTOCOLS for rows in ROWS}
TARGET: Final = 0.9
"""What the most connections should have at least, as a share of the best."""
_BYTES: Final = 8 << 20
"""About how much the different requests of one load have together."""
_REFUSED: Final = ("503", "grpc-status 8", "grpc-status 14")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 when an answer was neither right nor a refusal."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.write and (options.quick or len(options.loads) < len(LOADS)):
        parser.error("--write keeps whole results: leave --quick and --loads out")
    stop_on_sigterm()
    connections = CONNECTIONS
    loads = [LOADS[name] for name in options.loads]
    if options.quick:
        options.rounds, options.seconds = 1, 1
        connections = (8, 64, 512)
        loads = [(protocol, rows) for protocol, rows in loads if rows != 20]
    known = {"command": facts.command("loadtest.overload", arguments)} | facts.machine()
    known |= {"rounds": options.rounds, "seconds_per_point": options.seconds}
    home = bench_home()
    samples: list[dict[str, Any]] = []
    with only_one(home):
        vigil.prepare(home)
        server = vigil.start(home, vigil.Variant("local", checks=True))
        try:
            for number in range(options.rounds):
                for protocol, rows in loads:
                    for clients in connections:
                        point = _measure(server, protocol, rows, clients, options.seconds)
                        samples.append({"round": number, **point})
        finally:
            server.stop()
    tables = [_table(samples, connections)]
    record.show("overload", known, tables)
    if options.write:
        record.write("overload", known, tables, samples)
    return int(any(sample["problems"] or sample["other"] for sample in samples))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest.overload", description=__doc__)
    parser.add_argument("--rounds", type=int, choices=range(1, 11), default=3, metavar="N")
    parser.add_argument("--seconds", type=int, choices=range(1, 31), default=3, metavar="S")
    parser.add_argument("--quick", action="store_true", help="one short round of a few points")
    parser.add_argument("--loads", nargs="+", choices=LOADS, default=[*LOADS], metavar="LOAD",
                        help="protocol and rows, as json-20; all of them if not given")  # fmt: skip
    parser.add_argument("--write", action="store_true", help="keep the results")
    return parser


def _measure(
    server: Server, protocol: Protocol, rows: int, clients: int, seconds: float
) -> dict[str, Any]:
    if protocol == "grpc":
        port = server.grpc_port or 0
        pool: Sequence[Any] = unique.grpc_pool(rows, max(64, _BYTES // (150 * rows)))
    else:
        port = server.http_port
        count = max(64, _BYTES // (400 * rows))
        text = unique.http_pool(protocol, rows, count)
        pool = [request.replace(unique.PORT, b"%d" % port) for request in text]
    # Each begins elsewhere, so that no two send the same request at once.
    step = max(1, len(pool) // clients)
    rings = [((), (*pool[at:], *pool[:at])) for at in range(0, step * clients, step)]
    with tempfile.TemporaryDirectory(prefix="vb-") as work:
        found = replay(port, rings, 1, seconds, Path(work), "statuses")
    statuses = found["statuses"]
    good = statuses.get("200", 0)
    refused = sum(statuses.get(status, 0) for status in _REFUSED)
    point = {
        "protocol": protocol,
        "rows": rows,
        "connections": clients,
        "good_per_s": good / found["seconds"],
        "refused_per_s": refused / found["seconds"],
        "other": {k: n for k, n in statuses.items() if k != "200" and k not in _REFUSED},
        "p99_ms": found["p99_ms"],
        "generator_cpu": found["cpu"],
        "problems": found["problems"],
    }
    print(
        f"{protocol:6} {rows:3} rows {clients:3} connections: {point['good_per_s']:8,.0f} good/s, "
        f"{point['refused_per_s']:8,.0f} refused/s {point['other'] or ''}",
        *found["problems"],
        flush=True,
    )
    check(server, protocol)  # it is alive and right
    time.sleep(0.2)
    return point


def _table(samples: Sequence[dict[str, Any]], connections: Sequence[int]) -> record.Table:
    rows = []
    for protocol, count in dict.fromkeys((s["protocol"], s["rows"]) for s in samples):
        good, refused = {}, {}
        for clients in connections:
            at = [
                s for s in samples
                if (s["protocol"], s["rows"], s["connections"]) == (protocol, count, clients)
            ]  # fmt: skip
            good[clients] = median(s["good_per_s"] for s in at)
            refused[clients] = median(s["refused_per_s"] for s in at)
        share = good[connections[-1]] / max(max(good.values()), 1e-9)
        cells = (f"{good[c]:,.0f} ({refused[c]:,.0f})" for c in connections)
        kept = "" if share >= TARGET else " (under the target)"
        rows.append((f"{protocol}, {count} rows", *cells, f"{share:.2f}{kept}"))
    columns = ("load", *map(str, connections), f"share of the best at {connections[-1]}")
    note = (
        "Right answers a second (503 a second in brackets) by connections; medians over rounds. "
        f"At least {TARGET:.0%} of the best is the target at the most connections."
    )
    return record.Table("Goodput", columns, rows, note)


if __name__ == "__main__":
    raise SystemExit(main())
