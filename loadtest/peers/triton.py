"""Triton 2.51 with its Python backend as a contender: the same network in torch, on one thread."""

from __future__ import annotations

import shutil
from pathlib import Path

from loadtest import image, mlp
from loadtest.peers import tritonserver
from loadtest.process import Server

BATCHING = {
    "no delay": "dynamic_batching { }",
    "1 ms delay": "dynamic_batching { max_queue_delay_microseconds: 1000 }",
}


def install(home: Path) -> Path:
    """Make Triton's virtual environment, with torch, unless it is complete; return it."""
    return tritonserver.install(home, ("torch==2.13.0",), ".complete")


def write_repository(home: Path, setting: str) -> Path:
    """Write the model repository for one batching setting and return its path."""
    repository = home / "triton-models" / setting.replace(" ", "-")
    version = repository / mlp.MODEL / "1"
    version.mkdir(parents=True, exist_ok=True)
    shutil.copy2(Path(__file__).with_name("triton_model.py"), version / "model.py")
    saved = home / "mlp.npz"
    mlp.save_weights(saved)
    (repository / mlp.MODEL / "config.pbtxt").write_text(
        f"""name: "{mlp.MODEL}"
backend: "python"
max_batch_size: 256
input [{{ name: "{mlp.INPUT}", data_type: TYPE_FP32, dims: [{mlp.WIDTHS[0]}] }}]
output [{{ name: "{mlp.OUTPUT}", data_type: TYPE_FP32, dims: [{mlp.WIDTHS[-1]}] }}]
instance_group [{{ kind: KIND_CPU, count: 1 }}]
{BATCHING[setting]}
parameters {{ key: "weights" value {{ string_value: "{saved.resolve()}" }} }}
"""
    )
    _write_image(repository / image.MODEL, setting)
    return repository


def _write_image(folder: Path, setting: str) -> None:
    (folder / "1").mkdir(parents=True, exist_ok=True)
    shutil.copy2(Path(__file__).with_name("triton_image.py"), folder / "1" / "model.py")
    dims = ", ".join(map(str, image.SHAPE))
    (folder / "config.pbtxt").write_text(
        f"""name: "{image.MODEL}"
backend: "python"
max_batch_size: 32
input [{{ name: "{image.INPUT}", data_type: TYPE_FP32, dims: [{dims}] }}]
output [{{ name: "{image.OUTPUT}", data_type: TYPE_FP32, dims: [3] }}]
instance_group [{{ kind: KIND_CPU, count: 1 }}]
{BATCHING[setting]}
"""
    )


def start(home: Path, setting: str) -> Server:
    """Start Triton with `setting` (a key of `BATCHING`) and wait until the model is ready."""
    venv = install(home)
    repository = write_repository(home, setting)
    name = f"triton {setting}"
    return tritonserver.serve(name, venv, repository, home / "logs" / f"{_slug(name)}.log")


def _slug(name: str) -> str:
    return name.replace(" ", "-")
