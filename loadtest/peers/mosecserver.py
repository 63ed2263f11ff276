"""mosec, a model server whose front is written in Rust, in a virtual environment of its own.

It does not speak the Open Inference Protocol: a worker gets the bytes of a body and returns bytes.
Ours (`mosec_app.py`) takes and gives what the others do for this one model, and does nothing else
of the protocol: no metadata, no check of names, shapes or datatypes, no binary tensors, no gRPC,
no statistics. `python -m loadtest.peers.mosecserver` makes the environment and does nothing else.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from loadtest import mlp
from loadtest.home import bench_home
from loadtest.peers.tritonserver import make_venv
from loadtest.process import Server, ServerError, free_ports, spawn, wait_ready
from loadtest.verify import check

REQUIREMENTS = ("mosec==0.9.8", "torch==2.13.0", "numpy")


def install(home: Path) -> Path:
    """Make the virtual environment unless it is there; return its directory."""
    venv = home / "mosec"
    make_venv(venv, REQUIREMENTS, ".complete")
    return venv


def start(home: Path) -> Server:
    """Start mosec and wait until the model answers."""
    venv, saved = install(home), home / "mlp.npz"
    mlp.save_weights(saved)
    # Its sockets need a short path: a directory of the repository may be too long.
    sockets = Path(tempfile.mkdtemp(prefix="vb-", dir="/tmp"))
    (http_port,) = free_ports(1)
    log = home / "logs" / "mosec.log"
    app = Path(__file__).with_name("mosec_app.py")
    command = [str((venv / "bin" / "python").absolute()), str(app)]
    command += ["--address", "127.0.0.1", "--port", str(http_port), "--path", str(sockets / "s")]
    command += ["--log-level", "warning"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "WEIGHTS": str(saved.resolve())}
    server = Server(
        "mosec",
        spawn(command, env, log),
        http_port,
        None,
        log,
        cleanup=lambda: shutil.rmtree(sockets, ignore_errors=True),
    )
    # Its front answers before the worker is there: ask the model itself.
    return wait_ready(server, lambda: _answers(server))


def _answers(server: Server) -> bool:
    try:
        check(server, "json")
    except ServerError:
        return False
    return True


if __name__ == "__main__":
    print(install(bench_home()))
