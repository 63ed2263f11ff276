"""What a GPU gives: `python -m loadtest.gpu`, on a machine that has one.

Measured at the replica over its channel, with two batches on their way: rows per second and
latency by network, batch, precision and way to compute. Answers are compared with float32 on a
CPU. `--device cpu` rehearses it without a GPU.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from loadtest.gpu_models import BATCHES, NETS, PRECISIONS, Case, build, cases, network, rows
from loadtest.process import ServerError, spawn, stop_on_sigterm
from serving.channel.connection import ChannelClosed, Connection
from serving.channel.endpoint import connect
from serving.channel.messages.inference import BatchMeta
from serving.control.registry import Registry
from serving.models.torch.device_ops import CudaOps
from serving.models.torch.pipeline import Pipeline
from serving.protocol.messages import Tensor

ROOT = Path(__file__).resolve().parent.parent
IN_FLIGHT = 2
START_LIMIT_S = 300.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and save; 1 without a GPU, or when a case could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.gpu", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="per batch size")
    parser.add_argument("--nets", default=",".join(NETS))
    parser.add_argument("--precisions", default=",".join(PRECISIONS))
    parser.add_argument("--batches", default=",".join(map(str, BATCHES)))
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--name", default="gpu", help="of the files in loadtest/results")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        print("torch sees no GPU here; run this on a machine with CUDA", file=sys.stderr)
        return 1
    stop_on_sigterm()
    result = asyncio.run(_measure(options))
    path = ROOT / "loadtest" / "results" / options.name
    path.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    path.with_suffix(".md").write_text(report(result))
    Console().print(report(result), markup=False)
    return 1 if result["failed"] else 0


async def _measure(options: argparse.Namespace) -> dict[str, Any]:
    batches = [int(size) for size in options.batches.split(",")]
    nets, precisions = options.nets.split(","), options.precisions.split(",")
    cuda = options.device == "cuda"
    result: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if cuda else f"CPU ({platform.machine()})",
        "torch": torch.__version__,
        "seconds": options.seconds,
        "measured": [],
        "failed": {},
        "staging": [_staging(net, max(batches), options.seconds) for net in nets] if cuda else [],
    }
    with tempfile.TemporaryDirectory(prefix="vg-") as folder:
        for case in cases(options.device, nets, precisions):
            print(case.name, file=sys.stderr, flush=True)
            build(case, Path(folder) / "models", batches)
            try:
                async with _replica(case, Path(folder)) as connection:
                    for size in batches:
                        found = await _batch(connection, case, size, options.seconds)
                        result["measured"].append(found)
            except (ServerError, ChannelClosed) as error:
                result["failed"][case.name] = str(error)
    return result


@contextlib.asynccontextmanager
async def _replica(case: Case, folder: Path) -> AsyncIterator[Connection]:
    registry_address, address = f"unix:{folder}/control plane", f"unix:{folder}/replica"
    registry = Registry()
    await registry.start(registry_address)
    command = [sys.executable, "-m", "loadtest.gpu_replica", str(folder / "models"), case.name]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    log = ROOT / ".bench" / "logs" / f"gpu-{case.name}.log"
    process = spawn([*command, address, registry_address], env, log)
    connection: Connection | None = None
    try:
        connection = await _connected(process, address, log)
        yield connection
    finally:
        if connection:
            connection.close()
        process.terminate()
        await asyncio.to_thread(process.wait)
        registry.stop()
        await asyncio.sleep(0)


async def _connected(process: subprocess.Popen[bytes], address: str, log: Path) -> Connection:
    end = time.monotonic() + START_LIMIT_S
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(ChannelClosed):
            return await connect(address)
        await asyncio.sleep(0.1)
    raise ServerError(f"the replica did not start: {await asyncio.to_thread(_tail, log)}")


def _tail(log: Path) -> str:
    return log.read_text().strip()[-500:]


async def _batch(connection: Connection, case: Case, size: int, seconds: float) -> dict[str, Any]:
    x = rows(case.net, size)
    with torch.inference_mode():
        right = network(case.net)(torch.from_numpy(x)).numpy()
    worst = 0.0
    latencies: list[float] = []
    end = time.perf_counter() + seconds

    async def client() -> None:
        nonlocal worst
        meta, tensors = BatchMeta((size,)), [Tensor("x", "FP32", x.shape, x)]
        while True:
            began = time.perf_counter()
            reply = await connection.request("infer", meta, tensors)
            latencies.append(time.perf_counter() - began)
            if len(latencies) <= IN_FLIGHT or time.perf_counter() >= end:
                found = reply.tensors[0].data
                worst = max(worst, float(np.abs(found - right).max() / np.abs(right).max()))
            if time.perf_counter() >= end:
                return

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(IN_FLIGHT)))
    passed = time.perf_counter() - began
    p50, p99 = np.percentile(latencies, [50, 99]) * 1e3
    return {
        "net": case.net, "precision": case.precision, "compile": case.way, "batch": size,
        "rows_per_s": len(latencies) * size / passed, "p50_ms": p50, "p99_ms": p99,
        "deviation": worst,
    }  # fmt: skip


def _staging(net: str, size: int, seconds: float) -> dict[str, Any]:
    """Measure the pipeline alone, with page-locked and with ordinary host buffers."""
    device = torch.device("cuda")
    module = network(net).to(device)
    x = torch.from_numpy(rows(net, size))
    found: dict[str, Any] = {"net": net, "batch": size}
    for name, pinned in (("pinned", True), ("pageable", False)):
        pipeline = Pipeline(CudaOps(device, pinned=pinned), {False: module.forward}, IN_FLIGHT)
        with torch.inference_mode():
            pipeline.run([x], features=False)
            under_way = [pipeline.submit([x], features=False)]
            began, count = time.perf_counter(), 0
            while (passed := time.perf_counter() - began) < seconds:
                under_way.append(pipeline.submit([x], features=False))
                oldest = under_way.pop(0)
                pipeline.wait(oldest)
                pipeline.collect(oldest)
                count += 1
            pipeline.wait(under_way[0])
        found[f"{name}_rows_per_s"] = count * size / passed
    return found


def report(result: dict[str, Any]) -> str:
    """Return the result as a page."""
    lines = [
        f"# {result['device']}",
        "",
        f"torch {result['torch']}; {result['seconds']} s each, {IN_FLIGHT} batches on their way.",
        "Deviation is from float32 on a CPU, as a share of the largest output.",
        "",
        "| net | batch | precision | compile | rows/s | p50 ms | p99 ms | deviation |",
        "|---|---:|---|---|---:|---:|---:|---:|",
    ]
    for each in sorted(result["measured"], key=lambda one: (one["net"], one["batch"])):
        numbers = f"{each['rows_per_s']:,.0f} | {each['p50_ms']:.2f} | {each['p99_ms']:.2f}"
        lines.append(
            f"| {each['net']} | {each['batch']} | {each['precision']} | {each['compile']} | "
            f"{numbers} | {each['deviation']:.1e} |"
        )
    if result["staging"]:
        lines += ["", "| net | batch | pinned rows/s | pageable rows/s |", "|---|---:|---:|---:|"]
    for each in result["staging"]:
        pinned, pageable = each["pinned_rows_per_s"], each["pageable_rows_per_s"]
        lines.append(f"| {each['net']} | {each['batch']} | {pinned:,.0f} | {pageable:,.0f} |")
    lines += [f"\nFailed: {name}: {why}" for name, why in result["failed"].items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
