"""What saving costs the monitor: `python -m loadtest.checkpoint [--rows 113000 500000]`.

A monitor holds so many predictions that wait for labels, and takes in predictions and labels at a
fixed rate. Measured are the seconds between two saves and how long the event loop stood still.
Leaves `checkpoint.json` in `loadtest/results`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Iterator
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from loadtest import facts
from loadtest.vigil import ROOT
from serving.channel.messages.directory import ServedModel
from serving.channel.messages.observation import EventMeta, Label, LabelsMeta, Position
from serving.config import ModelConfig
from serving.control.registry import Registry
from serving.monitoring.role import MonitorRole
from serving.protocol.messages import Tensor

PER_MODEL = 100_000
"""Predictions that one model version keeps."""
BATCH = 100
PER_SECOND = 2_000
"""Predictions, and as many labels."""
_CONFIG = {
    "format": "python",
    "factory": "net:build",
    "trust_code": True,
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
    "outputs": [{"name": "p", "datatype": "FP32", "shape": [-1, 2]}],
    "monitors": {"drift": None},
}


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.checkpoint", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[113_000, 500_000])
    parser.add_argument("--seconds", type=int, default=100)
    options = parser.parse_args()
    result: dict[str, Any] = {"facts": facts.machine(), "rows_per_second": PER_SECOND}
    result["held"] = {}
    for rows in options.rows:
        result["held"][rows] = asyncio.run(_measure(rows, options.seconds))
        print(rows, result["held"][rows], flush=True)
    path = ROOT / "loadtest" / "results" / "checkpoint.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    return 0


async def _measure(rows: int, seconds: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        registry = Registry()
        await registry.start(f"unix:{folder}/registry.sock")
        models = [f"m{number}" for number in range(-(-rows // PER_MODEL))]
        config = ModelConfig.model_validate(_CONFIG).model_dump_json().encode()
        registry.set_models([ServedModel(model, "1", config, name) for model in models])
        role = MonitorRole(f"unix:{folder}/registry.sock", f"unix:{folder}/m.sock", folder / "data")
        await role.start()
        traffic = _traffic(role, models)
        for _ in range(rows // BATCH):
            next(traffic)
            await asyncio.sleep(0)  # saving goes on meanwhile
        await asyncio.sleep(10)  # until a burst like this is saved
        saves, stalls = await _run(traffic, folder / "data" / "monitor.json", seconds)
        started = time.perf_counter()
        await role.stop()
        stopped = time.perf_counter() - started
        registry.stop()
        size = sum(path.stat().st_size for path in (folder / "data").iterdir())
    return {
        "saves": len(saves),
        "worst_interval_s": round(max(b - a for a, b in pairwise(saves)), 2),
        "worst_stall_ms": round(1e3 * max(stalls), 1),
        "stalled_share": round(sum(stalls) / seconds, 3),
        "stop_s": round(stopped, 2),
        "file_mib": round(size / 2**20, 1),
    }


async def _run(
    traffic: Iterator[None], saved: Path, seconds: int
) -> tuple[list[float], list[float]]:
    """Feed the monitor; returns when it saved, and how late each turn of the loop came."""
    saves: list[float] = []
    stalls: list[float] = []
    pause = 0.001
    began = before = time.perf_counter()
    written, fed = 0, 0
    while (now := time.perf_counter()) - began < seconds:
        stalls.append(max(now - before - pause, 0.0))
        changed = _changed(saved)
        if changed != written:
            written = changed
            saves.append(now)
        while fed < (now - began) * PER_SECOND:
            next(traffic)
            fed += BATCH
        before = time.perf_counter()
        await asyncio.sleep(pause)
    return saves[1:], stalls  # the first one was there before


def _changed(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def _traffic(role: MonitorRole, models: list[str]) -> Iterator[None]:
    scores = np.tile(np.array([[0.2, 0.8]], np.float32), (BATCH, 1))
    for number in count():
        model = models[number % len(models)]
        ids = [f"{number:08x}-{row:08x}" for row in range(BATCH)]
        position = Position("gateway-0", 1, number, number * BATCH, number * BATCH)
        meta = EventMeta(position, model, "1", time.time(), ids, [1] * BATCH, {})
        role.service.observe(meta, [Tensor("out:p", "FP32", [BATCH, 2], scores)])
        role.service.label(LabelsMeta(model, [Label(ident, 0, 1) for ident in ids]))
        yield


if __name__ == "__main__":
    raise SystemExit(main())
