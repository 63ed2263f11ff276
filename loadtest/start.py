"""What starting costs, process by process: `python -m loadtest.start [--write]`.

Starts a server with one small Python model and the local engine, waits until it is ready and every
process rests, and reads processor time and memory (PSS, see `loadtest.memory`). The first start,
which may compile Python's files, is not counted.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Final

from loadtest import facts, record, vigil
from loadtest.home import bench_home
from loadtest.memory import costs
from loadtest.process import ServerError, cpu_seconds, only_one, stop_on_sigterm
from loadtest.vigil import Variant
from serving.models.repository.manifest import write_folder_manifest

REST_S: Final = 1.0
RESTING: Final = 0.05
"""Processor seconds in `REST_S` of a server that has started, at most."""
LIMIT_S: Final = 60.0
ALL: Final = "all"
CONFIG: Final = """{format: python, factory: "net:build", trust_code: true, explain: null,
inputs: [{name: x, datatype: FP32, shape: [-1, 1]}],
outputs: [{name: y, datatype: FP32, shape: [-1, 1]}]}
"""
NET: Final = """class build:
    def predict(self, inputs):
        return {"y": inputs["x"] * 2}
"""


@dataclass(frozen=True, slots=True)
class Started:
    """What the processes of one role have used in one start: processor seconds, and MiB of PSS."""

    start: int
    role: str
    cpu_s: float
    pss: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and with `--write` save."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.start", description=__doc__)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args(arguments)
    stop_on_sigterm()
    known = facts.machine() | {"command": facts.command("loadtest.start", arguments)}
    with only_one(bench_home()), tempfile.TemporaryDirectory(prefix="vigil-start-") as name:
        models = _models(Path(name))
        counted = range(1, options.starts + 1)
        found = [each for start in (0, *counted) for each in _start(models, start) if start]
    tables = [table(found)]
    record.show("start", known, tables)
    if options.write:
        record.write("start", known, tables, [asdict(each) for each in found])
    return 0


def _models(folder: Path) -> Path:
    version = folder / "double" / "1"
    version.mkdir(parents=True)
    (version / "net.py").write_text(NET)
    (version.parent / "model.yaml").write_text(CONFIG)
    write_folder_manifest(version)
    return folder


def _start(models: Path, start: int) -> list[Started]:
    server = vigil.start(bench_home(), Variant("local", checks=True, record=True), models)
    pid = server.process.pid
    try:
        rested(lambda: cpu_seconds(pid) if any(c.role == "monitor" for c in costs(pid)) else None)
        by_role: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for cost in costs(pid):
            for role in (cost.role, ALL):
                by_role[role][0] += cost.cpu_s
                by_role[role][1] += cost.pss
        return [Started(start, role, *used) for role, used in by_role.items()]
    finally:
        server.stop()


def rested(used: Callable[[], float | None], rest_s: float = REST_S) -> None:
    """Wait until `used`, processor seconds, hardly grows; it is None while a process is missing.

    Raises:
        ServerError: it grows for too long.
    """
    until = time.monotonic() + LIMIT_S
    before = used()
    while time.monotonic() < until:
        time.sleep(rest_s)
        now = used()
        if before is not None and now is not None and now - before < RESTING:
            return
        before = now
    raise ServerError("the server does not come to rest")


def table(found: Sequence[Started]) -> record.Table:
    """Return the medians and ranges by role, the most expensive first."""
    roles: dict[str, list[Started]] = defaultdict(list)
    for each in found:
        roles[each.role].append(each)
    lines = []
    for role, of in roles.items():
        cpu, pss = [each.cpu_s for each in of], [each.pss for each in of]
        span = f"{min(cpu):.2f} to {max(cpu):.2f}"
        lines.append((role, f"{median(cpu):.2f}", span, f"{median(pss):.0f}"))
    lines.sort(key=lambda line: (line[0] == ALL, -float(line[1])))
    starts = len({each.start for each in found})
    note = f"Medians of {starts} starts with one small Python model, without a request."
    columns = ("role", "processor s", "range", "PSS MiB")
    return record.Table("What starting costs", columns, lines, note)


if __name__ == "__main__":
    raise SystemExit(main())
