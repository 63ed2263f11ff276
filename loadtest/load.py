"""The loads, and the generators that make them: wrk, h2load, and `replay` for unique gRPC calls.

A round in which anything went wrong is worth nothing: its `Measurement` carries the reason in
`problems`, and no ratio is made of it.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from loadtest import image, mlp, unique
from loadtest.home import ROOT
from loadtest.process import Server, ServerError
from loadtest.verify import Protocol, check, request

_LUA = Path(__file__).with_name("wrk.lua")
BUSIEST_GENERATOR: Final = 0.95
"""A generator that used more of a core than this was the limit itself: the round is void."""


@dataclass(frozen=True, slots=True)
class Load:
    """`connections` clients, each with `streams` requests in flight (more than 1: gRPC only).

    `unique`: no two requests are alike (`loadtest.unique`); else they are all the same.
    """

    protocol: Protocol
    connections: int
    streams: int = 1
    unique: bool = False

    @property
    def name(self) -> str:
        """How tables and options call it."""
        streams = f"x{self.streams}" if self.protocol == "grpc" else ""
        return f"{self.protocol}-{self.connections}{streams}{'-unique' if self.unique else ''}"


UNIQUE_LOADS = (
    *(Load("json", connections, unique=True) for connections in (1, 64, 256)),
    Load("binary", 64, unique=True),
    *(Load("grpc", *shape, unique=True) for shape in ((1, 1), (4, 16), (8, 32))),
)
"""What the race is about: requests as clients behind a mesh or with an SDK send them."""
LOADS = (
    *UNIQUE_LOADS,
    *(Load("json", connections) for connections in (1, 16, 64, 256)),
    Load("binary", 64),
    Load("image", 8),
    *(Load("grpc", *shape) for shape in ((1, 1), (1, 16), (4, 16), (8, 32))),
)


@dataclass(frozen=True, slots=True)
class Measurement:
    """One round of one load against one server. `problems` is empty when the round counts.

    `generator_cpu`: how much of a core the generator used.
    """

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    problems: tuple[str, ...] = ()
    generator_cpu: float = 0.0


def measure(server: Server, load: Load, seconds: float, warm_up_s: float = 0.5) -> Measurement:
    """Check the answers, warm up, load for `seconds`, and check the answers again."""
    try:
        size = check(server, load.protocol, unique=load.unique)
        generate(server, load, warm_up_s)
        measured, per_answer = generate(server, load, seconds)
        check(server, load.protocol, seed=11, unique=load.unique)
    except (ServerError, subprocess.SubprocessError, ValueError) as error:
        return Measurement(0, 0, 0, (f"{error}"[:500],))
    problems = measured.problems
    if size_problem := check_size(load.protocol, per_answer, size):
        problems += (size_problem,)
    if measured.generator_cpu > BUSIEST_GENERATOR:
        share = f"{measured.generator_cpu:.2f}"
        problems += (f"the generator used {share} of a core, so it was the limit",)
    return replace(measured, problems=problems)


def check_size(protocol: Protocol, per_answer: float, size: int) -> str | None:
    """Compare the bytes per answer that the generator saw with those of a checked answer.

    An answer that is an error in disguise (status 200, `grpc-status` in the trailer, no body)
    shows here. wrk counts headers too, so HTTP only has a lower bound.
    """
    low, high = size * 0.97, (size * 1.03 if protocol == "grpc" else float("inf"))
    if low <= per_answer <= high:
        return None
    return f"answers were {per_answer:.0f} bytes on average where a right one has {size}"


def generate(server: Server, load: Load, seconds: float) -> tuple[Measurement, float]:
    """Load a server for about `seconds`; return what was measured, and the bytes per answer."""
    with tempfile.TemporaryDirectory(prefix="vb-") as name:
        if load.protocol == "grpc":
            call = _replay if load.unique else _h2load
            return call(server, load, seconds, Path(name))
        return _wrk(server, load, seconds, Path(name))


def _wrk(server: Server, load: Load, seconds: float, work: Path) -> tuple[Measurement, float]:
    model = image if load.protocol == "image" else mlp
    path, body = request(load.protocol, model.rows(1))
    (work / "body").write_bytes(body.data)
    if load.unique:
        pool = b"".join(b"%d\n%b" % (len(r), r) for r in unique.http_pool(load.protocol))
        (work / "pool").write_bytes(pool.replace(unique.PORT, b"%d" % server.http_port))
    headers = "\n".join(f"{name}: {value}" for name, value in body.headers.items())
    # wrk takes whole seconds only.
    command = ["wrk", "-t1", f"-c{load.connections}", f"-d{max(1, round(seconds))}s"]
    command += ["--timeout", "5s", "-s", str(_LUA)]
    command += [f"http://127.0.0.1:{server.http_port}{path}"]
    env = {**os.environ, "BODY": str(work / "body"), "HEADERS": headers}
    if load.unique:
        env["POOL"] = str(work / "pool")
    output, busy = _run(command, seconds, env)
    measured, per_answer = parse_wrk(output)
    return replace(measured, generator_cpu=busy), per_answer


def parse_wrk(output: str) -> tuple[Measurement, float]:
    """Read the last line that `wrk.lua` prints; return it and the bytes per answer.

    Raises:
        ValueError: wrk printed no such line.
    """
    found = re.search(r"^RESULT (\{.*\})$", output, re.MULTILINE)
    if not found:
        raise ValueError(f"wrk gave no result: {output[-300:]}")
    raw: dict[str, int] = json.loads(found[1])
    kinds = ("connect", "read", "write", "status", "timeout")
    problems = tuple(f"{raw[kind]} {kind} errors" for kind in kinds if raw[kind])
    if not raw["requests"]:
        problems += ("no request was answered",)
    rate = raw["requests"] / raw["duration_us"] * 1e6
    measured = Measurement(rate, raw["p50_us"] / 1e3, raw["p99_us"] / 1e3, problems)
    return measured, raw["bytes"] / max(raw["requests"], 1)


def _h2load(server: Server, load: Load, seconds: float, work: Path) -> tuple[Measurement, float]:
    # A fixed count, not a duration: at the end of a duration h2load hangs up on requests in
    # flight, and Triton 2.51 dies of that (SIGSEGV). So every request is waited for.
    (work / "body").write_bytes(mlp.grpc_frame(mlp.grpc_message(mlp.rows(1))))
    pilot = 20 * load.connections * load.streams
    for _ in range(2):  # the first is short, and tells how many requests fill the time
        rate = _h2load_count(server, load, pilot, work)[0].requests_per_s
        pilot = max(pilot, round(rate * min(seconds, 0.3)))
    return _h2load_count(server, load, max(pilot, round(rate * seconds)), work)


def _h2load_count(server: Server, load: Load, count: int, work: Path) -> tuple[Measurement, float]:
    command = ["h2load", "-t1", f"-c{load.connections}", f"-m{load.streams}", f"-n{count}"]
    command += ["-d", str(work / "body")]
    command += ["-H", "content-type: application/grpc", "-H", "te: trailers"]
    command += [f"--log-file={work / 'log'}"]
    command += [f"http://127.0.0.1:{server.grpc_port}{mlp.GRPC_PATH}"]
    (work / "log").unlink(missing_ok=True)
    output, busy = _run(command, 30, dict(os.environ))
    measured, per_answer = parse_h2load(output, (work / "log").read_text())
    return replace(measured, generator_cpu=busy), per_answer


def parse_h2load(output: str, log: str) -> tuple[Measurement, float]:
    """Read h2load's summary and its per-request log; return them and the data bytes per answer.

    The log has tab-separated start (us), status and duration (us); the summary knows no
    percentiles.

    Raises:
        ValueError: a line of the summary is missing.
    """
    rate = float(_find(r"finished in [\d.]+\w*, ([\d.]+) req/s", output)[0])
    names = ("total", "started", "done", "succeeded", "failed", "errored", "timeout")
    counts = dict(
        zip(
            names,
            map(int, _find("requests: " + ", ".join(rf"(\d+) {n}" for n in names), output)),
            strict=True,
        )
    )
    statuses = _find(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", output)
    data_bytes = int(_find(r"\((\d+)\) data", output)[0])
    problems = tuple(
        f"{counts[kind]} requests {kind}" for kind in ("failed", "errored", "timeout")
        if counts[kind]
    )  # fmt: skip
    if other := sum(map(int, statuses[1:])):
        problems += (f"{other} answers were not 2xx",)
    if not counts["succeeded"]:
        problems += ("no request was answered",)
    durations = np.array([int(line.split("\t")[2]) for line in log.splitlines()] or [0])
    p50, p99 = np.percentile(durations, [50, 99]) / 1e3
    measured = Measurement(rate, float(p50), float(p99), problems)
    return measured, data_bytes / max(counts["succeeded"], 1)


def _find(pattern: str, output: str) -> tuple[str, ...]:
    found = re.search(pattern, output)
    if not found:
        raise ValueError(f"h2load gave no line like '{pattern}': {output[-300:]}")
    return found.groups()


def _replay(server: Server, load: Load, seconds: float, work: Path) -> tuple[Measurement, float]:
    assert server.grpc_port is not None
    rings = unique.grpc_rings(load.connections)
    return parse_replay(replay(server.grpc_port, rings, load.streams, seconds, work))


def replay(
    port: int, connections: Sequence[Any], streams: int, seconds: float, work: Path, *how: str
) -> dict[str, Any]:
    """Run `loadtest.replay` in a process of its own; return what it tells.

    The file with the requests goes into the folder `work`.
    """
    (work / "requests").write_bytes(pickle.dumps(connections))
    command = [sys.executable, "-m", "loadtest.replay", str(work / "requests"), str(port)]
    command += [str(seconds), str(streams), *how]
    output, _ = _run(command, seconds, {**os.environ, "PYTHONPATH": str(ROOT)})
    found: dict[str, Any] = json.loads(output)
    return found


def parse_replay(found: dict[str, Any]) -> tuple[Measurement, float]:
    """Make a measurement of what `loadtest.replay` tells; return it and the bytes per answer."""
    problems = tuple(found["problems"])
    wrong = {status: n for status, n in found["statuses"].items() if status != "200"}
    problems += tuple(f"{count} answers: {status}" for status, count in wrong.items())
    if not found["requests"]:
        problems += ("no request was answered",)
    rate = found["requests"] / found["seconds"]
    p50, p99, busy = (float(found[key]) for key in ("p50_ms", "p99_ms", "cpu"))
    measured = Measurement(rate, p50, p99, problems, busy)
    return measured, found["bytes"] / max(found["requests"], 1)


def _run(command: list[str], seconds: float, env: dict[str, str]) -> tuple[str, float]:
    """Run a generator; return its output and how much of a core it used."""
    used, began = _children_cpu_s(), time.monotonic()
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=seconds + 60, check=False
    )
    if done.returncode:
        tail = (done.stderr or done.stdout)[-300:]
        raise ServerError(f"{command[0]} ended with {done.returncode}: {tail}")
    return done.stdout, (_children_cpu_s() - used) / (time.monotonic() - began)


def _children_cpu_s() -> float:
    # Of those that have ended and were waited for; servers have not.
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
