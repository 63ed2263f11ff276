"""How the gateway process of the direct ingress is started. Nothing is started here."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from serving.config import Listen, Traces
from serving.gateway.process import GatewayProcess, gateway_environment

# A large body would otherwise get fresh pages from the kernel, and give them back, every time.
# What a heap of a thread's own keeps at its end nobody can give back: all threads share one.
_KEEP_MEMORY: Final = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
}


def direct_process(
    listen: Listen,
    runtime_dir: Path,
    gateway_id: str,
    registry_address: str,
    *,
    secret: bytes | None = None,
    drain_timeout_s: float = 30,
    traces: Traces | None = None,
) -> GatewayProcess:
    """Describe one gateway process.

    Args:
        listen: addresses and limits; ports must not be 0, gateways share them.
        runtime_dir: existing private folder for sockets.
        gateway_id: its name in the directory, in events and metrics.
        registry_address: where the control plane listens.
        secret: the cluster's secret for TCP channels.
        drain_timeout_s: what requests in flight get at the end.
        traces: which requests are traced.
    """
    private = runtime_dir / f"{gateway_id}.http"
    env = {
        **gateway_environment(listen, gateway_id, registry_address, secret, traces or Traces()),
        "VIGIL_PRIVATE_SOCKET": str(private),
        "VIGIL_DRAIN_S": str(drain_timeout_s),
        **_KEEP_MEMORY,
    }
    return GatewayProcess([sys.executable, "-m", "serving.gateway.direct.main"], env, private)
