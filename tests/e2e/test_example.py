"""What a version is tried with before it answers: an example in binary, or text that it knows."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
import yaml

from serving.models.export import save_files

pytestmark = pytest.mark.e2e

PICKY = """
import numpy as np

class Net:
    def predict(self, inputs):
        x = inputs["x"]
        if (x == 0).any():
            raise ValueError("zeros are no food for this one")
        return {"y": x.sum(1)}
"""
COLOURS = """
import numpy as np

class Net:
    def predict(self, inputs):
        known = {b"red": 1.0, b"blue": 2.0}
        return {"y": np.array([known[x] for x, in inputs["x"]], np.float32)}
"""
Y = {"name": "y", "datatype": "FP32", "shape": [-1]}
COLOUR = {
    "name": "x",
    "datatype": "BYTES",
    "shape": [-1, 1],
    "features": [{"name": "colour", "categories": ["red", "blue"]}],
}


def test_binary_examples_and_known_text(
    tmp_path_factory: pytest.TempPathFactory, running: Callable[..., Any]
) -> None:
    root = tmp_path_factory.mktemp("examples")
    inputs = {"picky": {"name": "x", "datatype": "FP32", "shape": [-1, 4]}, "colours": COLOUR}
    for name, source in (("picky", PICKY), ("colours", COLOURS)):
        (root / "model.py").write_text(source)
        save_files(root / "models" / name / "1", root / "model.py")
        config = {
            "format": "python",
            "factory": "model:Net",
            "trust_code": True,
            "inputs": [inputs[name]],
            "outputs": [Y],
        }
        if name == "picky":
            values = np.arange(1, 9, dtype=np.float32)
            given = {**inputs[name], "shape": [2, 4], "parameters": {"binary_data_size": 32}}
            content = json.dumps({"inputs": [given]}).encode() + values.tobytes()
            (root / "models" / name / "example.bin").write_bytes(content)
            config["example"] = "example.bin"
        (root / "models" / name / "model.yaml").write_text(yaml.safe_dump(config))
    checked = subprocess.run(
        [sys.executable, "-m", "serving.cli", "check", "--models", str(root / "models")],
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    ).stdout
    assert (
        "colours version 1: no example, so it is tried with the text \"red\" for input 'x'; "
        "name a request by `example`"
    ) in checked
    assert "picky version 1: 2 rows of the example give the same alone" in checked
    with running(root / "models", tmp_path_factory.mktemp("run")) as server:
        for name in inputs:
            ready = httpx.get(f"{server.url}/v2/models/{name}/ready", timeout=60)
            assert ready.status_code == 200, ready.text
