"""Triton 2.51 with its Python backend, from the `nvidia-pytriton` wheel.

The wheel carries the real `tritonserver`. It lives in a virtual environment of its own under
`.bench/triton`, made on first use.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from loadtest import image, mlp
from loadtest.process import Server, ServerError, free_ports, http_status, spawn, wait_ready

REQUIREMENTS = ("nvidia-pytriton==0.7.0", "torch==2.13.0", "numpy")
BATCHING = {
    "no delay": "dynamic_batching { }",
    "1 ms delay": "dynamic_batching { max_queue_delay_microseconds: 1000 }",
}
_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def install(home: Path) -> Path:
    """Make the virtual environment unless it is complete; return its directory."""
    venv, complete = home / "triton", home / "triton" / ".complete"
    if complete.exists():
        return venv
    if not (venv / "bin" / "pip").exists():
        # The base interpreter, not ours: a venv of a venv would see the wrong libpython.
        base = Path(sys.base_prefix) / "bin" / f"python{_PYTHON}"
        subprocess.run([str(base), "-m", "venv", str(venv)], check=True)
    subprocess.run([str(venv / "bin" / "pip"), "install", "-q", *REQUIREMENTS], check=True)
    bundle = _bundle(venv)
    stub = bundle / "python_backend_stubs" / _PYTHON / "triton_python_backend_stub"
    if not stub.exists():
        raise ServerError(f"the wheel has no Python backend stub for Python {_PYTHON}")
    shutil.copy2(stub, bundle / "backends" / "python")
    complete.touch()
    return venv


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
    http_port, grpc_port = free_ports(2)
    name = f"triton {setting}"
    log = home / "logs" / f"{name.replace(' ', '-')}.log"
    command = _command(venv, repository, http_port, grpc_port)
    process = spawn(command, _environment(venv), log)
    server = Server(name, process, http_port, grpc_port, log)
    models = (mlp.MODEL, image.MODEL)
    return wait_ready(
        server,
        lambda: all(http_status(http_port, f"/v2/models/{name}/ready") == 200 for name in models),
    )


def _bundle(venv: Path) -> Path:
    return venv / "lib" / f"python{_PYTHON}" / "site-packages" / "pytriton" / "tritonserver"


def _command(venv: Path, repository: Path, http_port: int, grpc_port: int) -> list[str]:
    bundle = _bundle(venv).resolve()
    return [
        str(bundle / "bin" / "tritonserver"),
        f"--model-repository={repository.resolve()}",
        f"--backend-directory={bundle / 'backends'}",
        f"--http-port={http_port}",
        "--http-address=127.0.0.1",
        f"--grpc-port={grpc_port}",
        "--grpc-address=127.0.0.1",
        "--allow-metrics=false",
    ]


def _environment(venv: Path) -> dict[str, str]:
    # The stub is a bare interpreter: it finds torch through PYTHONPATH, not through the venv.
    packages = venv / "lib" / f"python{_PYTHON}" / "site-packages"
    return {
        **os.environ,
        "PATH": f"{venv.resolve() / 'bin'}:{os.environ.get('PATH', '')}",
        "PYTHONPATH": str(packages.resolve()),
        "OMP_NUM_THREADS": "1",
    }
