"""The real `tritonserver` 2.51 out of the wheel `nvidia-pytriton`, with its Python backend.

It lives in a virtual environment of its own, made on first use. `python -m
loadtest.peers.tritonserver` makes it and does nothing else.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from loadtest.home import bench_home
from loadtest.process import Server, ServerError, free_ports, http_status, spawn, wait_ready

REQUIREMENTS = ("nvidia-pytriton==0.7.0", "numpy")
_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def base_python() -> str:
    """Return the base interpreter, not ours: a venv of a venv would see the wrong libpython."""
    return str(Path(sys.base_prefix) / "bin" / f"python{_PYTHON}")


def make_venv(venv: Path, requirements: Sequence[str], complete: str) -> None:
    """Make a virtual environment with `requirements` unless its file `complete` is there."""
    if (venv / complete).exists():
        return
    if not (venv / "bin" / "pip").exists():
        subprocess.run([base_python(), "-m", "venv", str(venv)], check=True)
    subprocess.run([str(venv / "bin" / "pip"), "install", "-q", *requirements], check=True)
    (venv / complete).touch()


def install(home: Path, extra: Sequence[str] = (), complete: str = ".server") -> Path:
    """Make the virtual environment unless it is there; return its directory.

    `extra` are packages that models need, `complete` the mark of an environment that has them.
    """
    venv = home / "triton"
    make_venv(venv, (*REQUIREMENTS, *extra), complete)
    bundle = _bundle(venv)
    stub = bundle / "python_backend_stubs" / _PYTHON / "triton_python_backend_stub"
    if not stub.exists():
        raise ServerError(f"the wheel has no Python backend stub for Python {_PYTHON}")
    if not (bundle / "backends" / "python" / stub.name).exists():
        shutil.copy2(stub, bundle / "backends" / "python")
    return venv


def installed(home: Path) -> bool:
    """Whether `install` has done its work."""
    return (home / "triton" / ".server").exists()


def serve(
    name: str,
    venv: Path,
    repository: Path,
    log: Path,
    ports: tuple[int, int] | None = None,
) -> Server:
    """Start Triton on `repository` and wait until every model in it is ready.

    `ports` are those for HTTP and gRPC; none takes free ones.
    """
    http_port, grpc_port = ports or tuple(free_ports(2))
    process = spawn(_command(venv, repository, http_port, grpc_port), _environment(venv), log)
    server = Server(name, process, http_port, grpc_port, log)
    return wait_ready(server, lambda: http_status(http_port, "/v2/health/ready") == 200)


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
    # The stub is a bare interpreter: it finds packages through PYTHONPATH, not through the venv.
    packages = venv / "lib" / f"python{_PYTHON}" / "site-packages"
    return {
        **os.environ,
        "PATH": f"{venv.resolve() / 'bin'}:{os.environ.get('PATH', '')}",
        "PYTHONPATH": str(packages.resolve()),
        "OMP_NUM_THREADS": "1",
    }


if __name__ == "__main__":
    print(install(bench_home()))
