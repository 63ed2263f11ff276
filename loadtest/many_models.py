"""Does it matter how many models are loaded? `python -m loadtest.many_models [--models 100]`.

One instance with one model and one with many, both up, one connection each, in interleaved rounds.
The second is asked for one of its models, and then for all of them in turn, when every request
wakes another process that has slept for long. Leaves `many-models.json` and `.md` in
`loadtest/results`.
"""

from __future__ import annotations

import argparse
import http.client
import json
import shutil
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from loadtest import facts, mlp, vigil
from loadtest.process import Server, descendants, only_one, stop_on_sigterm
from loadtest.vigil import ROOT, Variant

_REQUESTS = 600


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.many_models", description=__doc__)
    parser.add_argument("--models", type=int, choices=range(2, 501), default=100, metavar="N")
    parser.add_argument("--rounds", type=int, choices=range(1, 101), default=15, metavar="N")
    options = parser.parse_args()
    stop_on_sigterm()
    home = ROOT / ".bench"
    known: dict[str, Any] = facts.machine() | {"models": options.models, "rounds": options.rounds}
    with only_one(home), ExitStack() as stack:
        vigil.prepare(home)
        servers = {}
        for count in (1, options.models):
            models = _copies(
                home / "vigil-models" / "off" / mlp.MODEL, home / f"copies-{count}", count
            )
            began = time.perf_counter()
            servers[count] = vigil.start(home, Variant("local", checks=False), models)
            stack.callback(servers[count].stop)
            known[f"start_s_{count}"] = round(time.perf_counter() - began, 1)
            known[f"memory_mib_{count}"] = round(_unique_memory(servers[count].process.pid))
            print(f"{count} models: up in {known[f'start_s_{count}']} s, "
                  f"{known[f'memory_mib_{count}']} MiB", flush=True)  # fmt: skip
        samples = _race(servers, options.rounds)
    return _write(known, samples)


def _copies(model: Path, folder: Path, count: int) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    for number in range(count):
        shutil.copytree(model, folder / f"{mlp.MODEL}-{number}")
    return folder


def _unique_memory(pid: int) -> float:
    """Return the MiB that would be free if the process and all below it ended."""
    kib = 0
    for process in (pid, *(child for child, _ in descendants(pid))):
        rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
        kib += sum(
            int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private_")
        )
    return kib / 1024


def _race(servers: dict[int, Server], rounds: int) -> list[dict[str, Any]]:
    samples = []
    for number in range(-1, rounds):  # the first warms up
        for count, server in servers.items():
            for asked in sorted({1, count}):
                taken = {
                    "models": count,
                    "asked": asked,
                    "round": number,
                    "p50_ms": median(_ask(server.http_port, asked)),
                }
                if number >= 0:
                    samples.append(taken)
    return samples


def _ask(port: int, count: int) -> list[float]:
    """Ask the models in turn over one connection; return milliseconds."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    body = mlp.json_body(mlp.rows(1))
    taken = []
    for number in range(_REQUESTS):
        path = f"/v2/models/{mlp.MODEL}-{number % count}/infer"
        began = time.perf_counter()
        connection.request("POST", path, body.data, body.headers)
        answer = connection.getresponse()
        content = answer.read()
        taken.append((time.perf_counter() - began) * 1e3)
        if answer.status != 200:
            raise SystemExit(f"{path}: {answer.status} {content[:200]!r}")
    connection.close()
    return taken


def _write(known: dict[str, Any], samples: list[dict[str, Any]]) -> int:
    many = max(s["models"] for s in samples)
    one = {s["round"]: s["p50_ms"] for s in samples if s["models"] == 1}
    lines = ["# many-models", "", *[f"- {k.replace('_', ' ')}: {v}" for k, v in known.items()], ""]
    lines += [
        f"One connection, JSON, {_REQUESTS} requests a round; ratios are made in each round.",
        "",
        f"- p50 with one model: {median(one.values()):.3f} ms",
    ]
    for asked, how in ((1, "one of them asked"), (many, "all asked in turn")):
        of = [s for s in samples if s["models"] == many and s["asked"] == asked]
        ratios = [s["p50_ms"] / one[s["round"]] for s in of]
        lines.append(
            f"- p50 with {many} models, {how}: {median(s['p50_ms'] for s in of):.3f} ms, "
            f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) of that"
        )
    folder = ROOT / "loadtest" / "results"
    (folder / "many-models.md").write_text("\n".join(lines) + "\n")
    (folder / "many-models.json").write_text(
        json.dumps({"facts": known, "samples": samples}, indent=1) + "\n"
    )
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
