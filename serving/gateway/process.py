"""What an engine needs to know to start a gateway process, whatever its ingress."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from serving.config import Listen, Traces


@dataclass(frozen=True, slots=True)
class GatewayProcess:
    """What to start: arguments and environment; and the private socket to ask it about itself."""

    argv: list[str]
    env: dict[str, str]
    socket: Path


def gateway_environment(
    listen: Listen, gateway_id: str, registry_address: str, secret: bytes | None, traces: Traces
) -> dict[str, str]:
    """Return the environment that `serving.gateway.app` reads, on top of ours."""
    env = {
        **os.environ,
        "VIGIL_GATEWAY_ID": gateway_id,
        "VIGIL_REGISTRY": registry_address,
        "VIGIL_LISTEN": listen.model_dump_json(),
        "VIGIL_TRACES": traces.model_dump_json(),
    }
    if secret:
        env["VIGIL_CHANNEL_SECRET"] = secret.hex()
    return env
