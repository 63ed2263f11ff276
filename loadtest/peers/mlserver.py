"""MLServer with its scikit-learn runtime, in a virtual environment of its own.

It pins old versions of what Vigil uses too, hence the environment. `python -m
loadtest.peers.mlserver` makes it and does nothing else.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from loadtest.home import bench_home
from loadtest.peers.tritonserver import make_venv
from loadtest.process import Server, free_ports, http_status, spawn, wait_ready

REQUIREMENTS = ("mlserver==1.7.1", "mlserver-sklearn==1.7.1")


def install(home: Path) -> Path:
    """Make the virtual environment unless it is there; return its directory."""
    venv = home / "mlserver"
    make_venv(venv, REQUIREMENTS, ".server")
    return venv


def installed(home: Path) -> bool:
    """Whether `install` has done its work."""
    return (home / "mlserver" / ".server").exists()


def run_python(venv: Path, code: str, folder: Path) -> None:
    """Run `code` with the environment's own Python, to train a model that it can load."""
    subprocess.run([str((venv / "bin" / "python").absolute()), "-c", code], cwd=folder, check=True)


def serve(venv: Path, folder: Path, log: Path) -> Server:
    """Start MLServer on the models in `folder` and wait until they are ready."""
    http_port, grpc_port, metrics_port = free_ports(3)
    settings = {
        "host": "127.0.0.1",
        "http_port": http_port,
        "grpc_port": grpc_port,
        "metrics_port": metrics_port,
        "parallel_workers": 0,
        "debug": False,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    binary = (venv / "bin").absolute()
    env = {**os.environ, "PATH": f"{binary}:{os.environ.get('PATH', '')}"}
    process = spawn([str(binary / "mlserver"), "start", str(folder)], env, log)
    server = Server("mlserver", process, http_port, grpc_port, log)
    return wait_ready(server, lambda: http_status(http_port, "/v2/health/ready") == 200)


if __name__ == "__main__":
    print(install(bench_home()))
