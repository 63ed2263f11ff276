"""What an instance costs in memory, process by process: `python -m loadtest.memory [--write]`.

Starts the demo with the local engine, asks each model once and waits until the monitor is there.
The sum is of PSS (proportional set size): a page that several processes share counts once, in
equal parts. `--explained` asks for an explanation of each model, too.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from loadtest import facts, vigil
from loadtest.home import ROOT, bench_home
from loadtest.process import (
    Server,
    ServerError,
    descendants,
    only_one,
    own_cpu_seconds,
    stop_on_sigterm,
)
from loadtest.vigil import Variant

SETTLE_S = 5
"""What loops and collectors may still free after the start."""
LIMIT_S = 120


@dataclass(frozen=True, slots=True)
class Cost:
    """The memory of one process in MiB: shared pages in parts, its own only, and all it maps.

    `cpu_s`: the processor seconds that it has used so far.
    """

    role: str
    pss: float
    private: float
    rss: float
    cpu_s: float = 0.0


def costs(pid: int) -> list[Cost]:
    """Return what a process and all below it hold now."""
    found = []
    for process in (pid, *(child for child, _ in descendants(pid))):
        try:
            rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
            title = Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # it has just ended
            continue
        kib = {k: int(v) for k, v in re.findall(r"^(\w+):\s+(\d+) kB", rollup, re.MULTILINE)}
        private = kib["Private_Clean"] + kib["Private_Dirty"]
        mib = (kib["Pss"] / 1024, private / 1024, kib["Rss"] / 1024)
        found.append(Cost(_role(title), *mib, own_cpu_seconds(process)))
    return found


def _role(title: str) -> str:
    titled = re.match(r"vigil: ([a-z]+)", title)
    return titled[1] if titled else title.split(" -m ")[-1][:40].strip()


def table(found: list[Cost]) -> Table:
    """Return processes, PSS, private memory and RSS by role, and the sums."""
    shown = Table("role", "processes", "PSS MiB", "private MiB", "RSS MiB")
    roles: dict[str, list[Cost]] = defaultdict(list)
    for cost in found:
        roles[cost.role].append(cost)
    rows = sorted(roles.items(), key=lambda item: -sum(each.pss for each in item[1]))
    for role, each in (*rows, ("all", found)):
        sums = (sum(c.pss for c in each), sum(c.private for c in each), sum(c.rss for c in each))
        shown.add_row(role, str(len(each)), *(f"{value:.0f}" for value in sums))
    return shown


def total(found: list[Cost]) -> float:
    """Return the sum of PSS in MiB."""
    return sum(cost.pss for cost in found)


def ask(server: Server, model: str, body: bytes, what: str = "infer") -> None:
    """Send one request.

    Raises:
        ServerError: it was not answered with 200.
    """
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=LIMIT_S)
    connection.request("POST", f"/v2/models/{model}/{what}", body)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    if answer.status != 200:
        raise ServerError(f"{model} {what}: {answer.status} {content[:300]!r}")


def main() -> int:
    """Measure, print, and with `--write` save."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.memory", description=__doc__)
    parser.add_argument("--explained", action="store_true")
    parser.add_argument("--write", action="store_true", help="save to loadtest/results")
    options = parser.parse_args()
    stop_on_sigterm()
    home = bench_home()
    with only_one(home):
        found = _measure(home, explained=options.explained)
    Console().print(table(found))
    if options.write:
        name = "memory-explained" if options.explained else "memory"
        roles: dict[str, list[float]] = defaultdict(list)
        for cost in found:
            roles[cost.role].append(round(cost.pss, 1))
        result = {"facts": facts.machine(), "pss_mib": roles, "total_mib": round(total(found))}
        path = ROOT / "loadtest" / "results" / f"{name}.json"
        path.write_text(json.dumps(result, indent=1) + "\n")
    return 0


def _measure(home: Path, *, explained: bool) -> list[Cost]:
    from serving.demo.build import build_demo

    models = home / "demo-models"
    build_demo(models)
    server = vigil.start(home, Variant("local", checks=True), models)
    try:
        for example in sorted(models.glob("*/example.json")):
            ask(server, example.parent.name, example.read_bytes())
            if explained:
                ask(server, example.parent.name, example.read_bytes(), "explain")
        until = time.monotonic() + LIMIT_S
        while not any(cost.role == "monitor" for cost in costs(server.process.pid)):
            if time.monotonic() > until:
                raise ServerError("the monitor does not start")
            time.sleep(0.1)
        time.sleep(SETTLE_S)
        return costs(server.process.pid)
    finally:
        server.stop()


if __name__ == "__main__":
    raise SystemExit(main())
