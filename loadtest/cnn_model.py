"""Builds the folders of the convolutional network, one per way to serve it.

Run as a module in a process of its own (`python -m loadtest.cnn_model DIR`), so that torch
never sits in the memory of the process that measures.
"""

from __future__ import annotations

import json
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
import yaml

from loadtest import cnn_net
from loadtest.cnn_rows import BATCH, SHAPE, rows
from serving.models.export import save_files, save_safetensors

WAYS: dict[str, dict[str, object]] = {
    "eager": {"format": "safetensors"},
    "compiled": {"format": "safetensors", "compile": "default"},
    "onnx": {"format": "onnx"},
}
"""How the network is served, by the name of its model."""

_SOURCE = Path(__file__).with_name("cnn_net.py")


def network() -> torch.nn.Module:
    """Return the network with weights of a fixed seed, in inference mode."""
    torch.manual_seed(20_240)
    return cnn_net.build().eval().requires_grad_(requires_grad=False)


def write_onnx(module: torch.nn.Module, path: Path) -> None:
    """Write the graph with a free row axis."""
    example = torch.from_numpy(rows(2))
    with warnings.catch_warnings():
        # The newer exporter needs a package that nothing else here does.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            module, (example,), str(path), dynamo=False, input_names=["x"],
            output_names=["probabilities"],
            dynamic_axes={"x": {0: "rows"}, "probabilities": {0: "rows"}},
        )  # fmt: skip


def build(folder: Path) -> None:
    """Write `<folder>/<way>` for each way, with weights, configuration and example."""
    module = network()
    example = {"name": "x", "shape": [1, *SHAPE], "datatype": "FP32"}
    data = rows(1).ravel().tolist()
    for way, settings in WAYS.items():
        model = folder / way
        model.mkdir(parents=True, exist_ok=True)
        if settings["format"] == "onnx":
            with tempfile.TemporaryDirectory() as name:
                write_onnx(module, Path(name) / "model.onnx")
                save_files(model / "1", Path(name) / "model.onnx")
        else:
            save_safetensors(module, model / "1", _SOURCE)
            settings = {**settings, "factory": f"{_SOURCE.stem}:build", "trust_code": True}
        (model / "model.yaml").write_text(yaml.safe_dump(_config(settings), sort_keys=False))
        (model / "example.json").write_text(json.dumps({"inputs": [{**example, "data": data}]}))


def _config(settings: dict[str, object]) -> dict[str, object]:
    return {
        **settings,
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, *SHAPE]}],
        "outputs": [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]}],
        "example": "example.json",
        "replicas": {"device": "cpu", "cores": 1},
        "batching": {"max_batch_size": BATCH},
        "monitors": {"drift": None, "performance": None},
        "explain": None,
    }


if __name__ == "__main__":
    home = Path(sys.argv[1])
    build(home)
    with torch.inference_mode():
        np.save(home / "expected.npy", network()(torch.from_numpy(rows(BATCH))).numpy())
