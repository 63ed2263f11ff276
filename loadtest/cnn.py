"""How much of a network's bare speed is left when it is served: `python -m loadtest.cnn`.

A convolutional network of some ms per batch of 8 on one core; the real gateway with one replica
of one thread, against the quickest bare loop of one thread. Rounds are interleaved, and each
ratio is made within a round.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import yaml
from rich.console import Console
from rich.progress import Progress

from loadtest import facts
from loadtest.cnn_rows import BATCH, SHAPE, rows
from loadtest.load import parse_wrk
from loadtest.process import (
    Server,
    ServerError,
    free_ports,
    http_status,
    only_one,
    spawn,
    stop_on_sigterm,
    wait_ready,
)
from loadtest.vigil import ROOT

TARGET = 0.9
SERVED = ("eager", "compiled", "onnx")
LOADS = {"8 rows per request, 4 connections": (8, 4), "1 row per request, 32 connections": (1, 32)}
_LUA = Path(__file__).with_name("wrk.lua")
_START_LIMIT_S = 900.0


class Bare:
    """The child that computes without a server."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "loadtest.cnn_bare"], cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self.ways: list[str] = self._answer()

    def rate(self, way: str, seconds: float) -> float:
        """Return rows per second of one way."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{way} {seconds}\n")
        self._process.stdin.flush()
        return float(self._answer())

    def close(self) -> None:
        """End the child: its input ends."""
        self._process.communicate()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ServerError(f"the bare loop ended with {self._process.wait()}; see above")
        return json.loads(line)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and save; 1 when the target was missed."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.cnn", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--name", default="cnn", help="of the files in loadtest/results")
    options = parser.parse_args(arguments)
    if problem := [tool for tool in facts.missing_tools() if tool.startswith("wrk")]:
        raise SystemExit(f"not installed: {problem[0]}")
    stop_on_sigterm()
    with only_one(ROOT / ".bench"):
        about = {**facts.machine(), "rounds": options.rounds, "seconds": options.seconds}
        samples = _measure(options)
    best = _best(samples)
    result = {"facts": about, "target": TARGET, "rows_per_s": samples, "best": best}
    path = ROOT / "loadtest" / "results" / options.name
    path.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    path.with_suffix(".md").write_text(report(about, samples))
    Console().print(report(about, samples), markup=False)
    return 0 if best["ratio"] >= TARGET else 1


def _measure(options: argparse.Namespace) -> dict[str, list[float]]:
    home = (ROOT / ".bench").resolve()
    samples: dict[str, list[float]] = {}
    with _serving(home) as server, contextlib.closing(Bare()) as bare:
        steps = options.rounds * (len(bare.ways) + len(SERVED) * len(LOADS))
        with Progress() as progress:
            task = progress.add_task("measuring", total=steps)
            for _ in range(options.rounds):
                for way in bare.ways:
                    rate = bare.rate(way, options.seconds)
                    samples.setdefault(f"bare: {way}", []).append(rate)
                    progress.advance(task)
                for model in SERVED:
                    for load, (count, connections) in LOADS.items():
                        rate = _served(server, model, count, connections, options.seconds)
                        samples.setdefault(f"served: {model}, {load}", []).append(rate)
                        progress.advance(task)
    return samples


@contextlib.contextmanager
def _serving(home: Path) -> Iterator[Server]:
    models, work = home / "cnn-models", home / "vigil" / "cnn"
    work.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "loadtest.cnn_model", str(models)]
    subprocess.run(command, cwd=ROOT, env=env, check=True)
    http_port, grpc_port, admin_port = free_ports(3)
    settings = {
        "engine": "local",
        "listen": {"http_port": http_port, "grpc_port": grpc_port, "admin_port": admin_port},
        "models": str(models),
        "data_dir": str(work / "data"),
    }
    (work / "vigil.yaml").write_text(yaml.safe_dump(settings))
    log = home / "logs" / "cnn.log"
    command = [sys.executable, "-m", "serving.cli", "up", str(work / "vigil.yaml")]
    server = Server("vigil", spawn(command, env, log), http_port, grpc_port, log)
    # Three replicas compile and warm up, on a machine that may be cold.
    wait_ready(server, lambda: http_status(http_port, "/v2/health/ready") == 200, _START_LIMIT_S)
    try:
        right = np.load(models / "expected.npy")
        for model in SERVED:
            _check(server, model, right)
        yield server
    finally:
        server.stop()


def _body(count: int) -> tuple[bytes, dict[str, str]]:
    raw = rows(count).tobytes()
    size = {"binary_data_size": len(raw)}
    tensor = {"name": "x", "shape": [count, *SHAPE], "datatype": "FP32", "parameters": size}
    message = {"inputs": [tensor], "parameters": {"binary_data_output": True}}
    head = json.dumps(message).encode()
    return head + raw, {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(len(head)),
    }


def _check(server: Server, model: str, right: np.ndarray) -> None:
    import httpx

    data, headers = _body(BATCH)
    url = f"http://127.0.0.1:{server.http_port}/v2/models/{model}/infer"
    answer = httpx.post(url, content=data, headers=headers, timeout=60).raise_for_status()
    values = answer.content[int(answer.headers["Inference-Header-Content-Length"]) :]
    found = np.frombuffer(values, "<f4").reshape(right.shape)
    if not np.allclose(found, right, atol=1e-5):
        raise ServerError(f"{model} answers {found[0]} where {right[0]} is right")


def _served(server: Server, model: str, count: int, connections: int, seconds: float) -> float:
    data, headers = _body(count)
    with tempfile.TemporaryDirectory(prefix="vb-") as name:
        body = Path(name) / "body"
        body.write_bytes(data)
        env = {
            **os.environ,
            "BODY": str(body),
            "HEADERS": "\n".join(f"{key}: {value}" for key, value in headers.items()),
        }
        command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s"]
        command += ["--timeout", "20s", "-s", str(_LUA)]
        command += [f"http://127.0.0.1:{server.http_port}/v2/models/{model}/infer"]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    measured, _ = parse_wrk(done.stdout)
    if measured.problems:
        raise ServerError(f"{model}: {'; '.join(measured.problems)}")
    return measured.requests_per_s * count


def ratios(samples: dict[str, list[float]], name: str) -> list[float]:
    """Return, round by round, `name` as a share of that round's quickest bare loop."""
    bare = [each for key, each in samples.items() if key.startswith("bare: ")]
    quickest = [max(rates) for rates in zip(*bare, strict=True)]
    return [rate / top for rate, top in zip(samples[name], quickest, strict=True)]


def _best(samples: dict[str, list[float]]) -> dict[str, Any]:
    served = [name for name in samples if name.startswith("served: ")]
    middle = {name: median(ratios(samples, name)) for name in served}
    name = max(middle, key=lambda each: middle[each])
    return {"name": name, "ratio": middle[name]}


def report(about: dict[str, Any], samples: dict[str, list[float]]) -> str:
    """Return the result as a page."""
    best = _best(samples)
    shares = "Shares are of the quickest bare loop of the same round: median, smallest to largest."
    lines = [
        "# A compute-bound network, served and bare",
        "",
        f"Images {list(SHAPE)}, batches of {BATCH}, one thread. {shares}",
        "",
        f"Best: {best['name']}: {best['ratio']:.1%} (target {TARGET:.0%}).",
        "",
        "| | rows/s | share |",
        "|---|---:|---:|",
    ]
    for name, rates in samples.items():
        each = ratios(samples, name)
        span = f"{median(each):.2f} ({min(each):.2f}-{max(each):.2f})"
        lines.append(f"| {name} | {median(rates):,.0f} | {span} |")
    lines += ["", "## Machine and run", "", *(f"- {key}: {value}" for key, value in about.items())]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
