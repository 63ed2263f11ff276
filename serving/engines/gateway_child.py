"""One gateway process as an engine keeps it: started, asked whether it lives, drained."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from pathlib import Path

from serving.config import Listen, ServerConfig
from serving.engines.children import Keeper, spawn
from serving.engines.drain import drain_envoy
from serving.engines.exits import tell_exit
from serving.gateway.direct.process import direct_process
from serving.gateway.envoy import envoy_process
from serving.gateway.process import GatewayProcess

LAST_WORDS_S = 2.0
"""What a gateway has for closing once everything is answered."""


class GatewayChild:
    """Keeps one gateway running, with the ingress that the configuration names.

    Args:
        config: the server's configuration; `listen` its addresses, no port 0 among them.
        runtime: private folder for sockets.
        ident: the gateway's name.
        registry_address, secret: how it reaches the control plane.
        hidden: prefixes of environment variables that it must not see.
    """

    def __init__(
        self,
        config: ServerConfig,
        listen: Listen,
        runtime: Path,
        ident: str,
        registry_address: str,
        secret: bytes | None = None,
        hidden: tuple[str, ...] = (),
    ) -> None:
        self._grace_s = config.drain_timeout_s
        self._direct = config.ingress == "direct"
        describe = direct_process if self._direct else envoy_process
        process: GatewayProcess = describe(
            listen,
            runtime,
            ident,
            registry_address,
            secret=secret,
            drain_timeout_s=self._grace_s,
            traces=config.telemetry.traces,
        )
        self._socket = process.socket
        env = _without(process.env, hidden)
        self._keeper = Keeper(ident, lambda: spawn(process.argv, env), tell_exit)

    def start(self) -> None:
        """Begin to keep it running."""
        self._keeper.run()

    async def alive(self) -> bool:
        """Whether its listener is open and its loop answers."""
        # Here, because the local engine does not ask: 0.1 s of import.
        import httpx

        transport = httpx.AsyncHTTPTransport(uds=str(self._socket))
        path = "/v2/health/live" if self._direct else "/ready"
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            try:
                return (await client.get(path, timeout=2)).status_code == 200
            except httpx.HTTPError:
                return False

    async def stop(self) -> bool:
        """Finish what is in flight, then end it; whether all of it was answered."""
        self._keeper.stopping = True
        child = self._keeper.child
        drained = True
        if child is not None:
            if self._direct:
                self._keeper.signal(signal.SIGTERM)
                try:
                    drained = await asyncio.wait_for(child.wait(), self._grace_s + 1) == 0
                except TimeoutError:
                    drained = False
            else:
                drained = await drain_envoy(self._socket, self._grace_s)
        await self._keeper.stop(LAST_WORDS_S)
        return drained


def _without(env: Mapping[str, str], hidden: tuple[str, ...]) -> dict[str, str]:
    return {key: value for key, value in env.items() if not key.startswith(hidden or ("\0",))}
