"""The gateway process of the direct ingress: no Envoy, one loop, both ports."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import uvloop

from serving.access.decision import access_of
from serving.config import Listen
from serving.gateway.app import composition_from_environment
from serving.gateway.asgi import VigilApp
from serving.gateway.direct.limits import Limits
from serving.gateway.direct.server import DirectServer
from serving.gateway.threads import hand_over_soon
from serving.telemetry.logs.setup import configure
from serving.telemetry.process_title import set_title


async def serve(listen: Listen, drain_s: float) -> bool:
    """Serve until SIGTERM; returns whether everything in flight was answered."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    composition = composition_from_environment()
    max_body = listen.max_body_mib << 20
    app = VigilApp(
        composition.start,
        composition.stop,
        max_body,
        listen.cors_origins,
        access_of(listen),
        composition.bodies,
    )
    app.plane = plane = await composition.start()
    server = DirectServer(app, plane, listen, max_body, limits_of(listen))
    await server.start(Path(os.environ["VIGIL_PRIVATE_SOCKET"]))
    await stop.wait()
    plane.drain()
    drained = await server.drain(drain_s)
    await composition.stop()
    return drained


def limits_of(listen: Listen) -> Limits:
    """Return what the configuration lets clients take."""
    shortest = min(listen.headers_timeout_s, listen.request_timeout_s, listen.idle_timeout_s)
    return Limits(
        head_s=listen.headers_timeout_s,
        body_s=listen.request_timeout_s,
        idle_s=listen.idle_timeout_s,
        sweep_s=min(1.0, shortest / 4),
    )


def main() -> None:
    """Read the environment and serve."""
    set_title(os.environ["VIGIL_GATEWAY_ID"].replace("-", " ", 1))
    configure("gateway")
    hand_over_soon()
    listen = Listen.model_validate_json(os.environ["VIGIL_LISTEN"])
    drained = uvloop.run(serve(listen, float(os.environ["VIGIL_DRAIN_S"])))
    sys.exit(0 if drained else 1)


if __name__ == "__main__":
    main()
