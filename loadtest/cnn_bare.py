"""The network in a bare loop, without any server: what serving is compared with.

A child of `loadtest.cnn`: prepares every way to compute, says so, and then answers each line
`WAY SECONDS` on its standard input with the rows per second of that many seconds in a loop.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from loadtest.cnn_model import network, write_onnx
from loadtest.cnn_rows import BATCH, rows

MAX_DEVIATION = 1e-5


def contenders() -> dict[str, Callable[[], np.ndarray]]:
    """Return functions that compute one batch on one thread, by name."""
    x = rows(BATCH)
    tensor = torch.from_numpy(x)
    module = network()
    last = torch.channels_last
    wide: Any = network().to(memory_format=last)
    compiled = torch.compile(network(), dynamic=False, options={"freezing": True})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        traced: Any = torch.jit.trace(network(), tensor)  # type: ignore[no-untyped-call]
        frozen = torch.jit.optimize_for_inference(torch.jit.freeze(traced))
    session = _session(module)
    return {
        "eager": lambda: module(tensor).numpy(),
        "eager, channels last": lambda: wide(tensor.contiguous(memory_format=last)).numpy(),
        "torch.compile, frozen": lambda: compiled(tensor).numpy(),
        "TorchScript, frozen": lambda: frozen(tensor).numpy(),
        "ONNX Runtime": lambda: session.run(None, {"x": x})[0],
    }


def _session(module: torch.nn.Module) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "model.onnx"
        write_onnx(module, path)
        return onnxruntime.InferenceSession(
            path.read_bytes(), options, providers=["CPUExecutionProvider"]
        )


def main() -> None:
    """Prepare, check that all compute the same, then obey."""
    torch.set_num_threads(1)
    with torch.inference_mode():
        ways = contenders()
        right = ways["eager"]()
        for name, run in ways.items():
            for _ in range(3):
                found = run()
            deviation = float(np.abs(found - right).max() / np.abs(right).max())
            if deviation > MAX_DEVIATION:
                raise SystemExit(f"{name} computes something else: {deviation}")
        _tell(list(ways))
        for line in sys.stdin:
            name, _, seconds = line.strip().rpartition(" ")
            _tell(_rate(ways[name], float(seconds)))


def _rate(run: Callable[[], np.ndarray], seconds: float) -> float:
    run()
    began = time.perf_counter()
    count = 0
    while (passed := time.perf_counter() - began) < seconds:
        run()
        count += 1
    return count * BATCH / passed


def _tell(what: object) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    main()
