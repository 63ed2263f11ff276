"""The loads, and the two generators (wrk for HTTP, h2load for gRPC) that make them.

A round in which anything went wrong is worth nothing: its `Measurement` carries the reason in
`problems`, and no ratio is made of it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from loadtest import image, mlp
from loadtest.process import Server, ServerError
from loadtest.verify import Protocol, check, request

_LUA = Path(__file__).with_name("wrk.lua")


@dataclass(frozen=True, slots=True)
class Load:
    """`connections` clients, each with `streams` requests in flight (more than 1: gRPC only)."""

    protocol: Protocol
    connections: int
    streams: int = 1

    @property
    def name(self) -> str:
        """How tables and options call it."""
        streams = f"x{self.streams}" if self.protocol == "grpc" else ""
        return f"{self.protocol}-{self.connections}{streams}"


LOADS = (
    *(Load("json", connections) for connections in (1, 16, 64, 256)),
    Load("binary", 64),
    Load("image", 8),
    *(Load("grpc", *shape) for shape in ((1, 1), (1, 16), (4, 16), (8, 32))),
)


@dataclass(frozen=True, slots=True)
class Measurement:
    """One round of one load against one server. `problems` is empty when the round counts."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    problems: tuple[str, ...] = ()


def measure(server: Server, load: Load, seconds: float, warm_up_s: float = 0.5) -> Measurement:
    """Check the answers, warm up, load for `seconds`, and check the answers again."""
    try:
        size = check(server, load.protocol)
        _generate(server, load, warm_up_s)
        measured, per_answer = _generate(server, load, seconds)
        check(server, load.protocol, seed=11)
    except (ServerError, subprocess.SubprocessError, ValueError) as error:
        return Measurement(0, 0, 0, (f"{error}"[:500],))
    if size_problem := check_size(load.protocol, per_answer, size):
        return Measurement(
            measured.requests_per_s,
            measured.p50_ms,
            measured.p99_ms,
            (*measured.problems, size_problem),
        )
    return measured


def check_size(protocol: Protocol, per_answer: float, size: int) -> str | None:
    """Compare the bytes per answer that the generator saw with those of a checked answer.

    An answer that is an error in disguise (status 200, `grpc-status` in the trailer, no body)
    shows here. wrk counts headers too, so HTTP only has a lower bound.
    """
    low, high = size * 0.97, (size * 1.03 if protocol == "grpc" else float("inf"))
    if low <= per_answer <= high:
        return None
    return f"answers were {per_answer:.0f} bytes on average where a right one has {size}"


def _generate(server: Server, load: Load, seconds: float) -> tuple[Measurement, float]:
    with tempfile.TemporaryDirectory(prefix="vb-") as name:
        if load.protocol == "grpc":
            return _h2load(server, load, seconds, Path(name))
        return _wrk(server, load, seconds, Path(name))


def _wrk(server: Server, load: Load, seconds: float, work: Path) -> tuple[Measurement, float]:
    model = image if load.protocol == "image" else mlp
    path, body = request(load.protocol, model.rows(1))
    (work / "body").write_bytes(body.data)
    headers = "\n".join(f"{name}: {value}" for name, value in body.headers.items())
    # wrk takes whole seconds only.
    command = ["wrk", "-t1", f"-c{load.connections}", f"-d{max(1, round(seconds))}s"]
    command += ["--timeout", "5s", "-s", str(_LUA)]
    command += [f"http://127.0.0.1:{server.http_port}{path}"]
    env = {**os.environ, "BODY": str(work / "body"), "HEADERS": headers}
    return parse_wrk(_run(command, seconds, env))


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
    output = _run(command, 30, dict(os.environ))
    return parse_h2load(output, (work / "log").read_text())


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


def _run(command: list[str], seconds: float, env: dict[str, str]) -> str:
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=seconds + 60, check=False
    )
    if done.returncode:
        tail = (done.stderr or done.stdout)[-300:]
        raise ServerError(f"{command[0]} ended with {done.returncode}: {tail}")
    return done.stdout
