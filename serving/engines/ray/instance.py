"""What every actor of one instance is told: configuration, models, and where the others are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from serving.channel.messages.directory import Inventory
from serving.config import ServerConfig
from serving.engines.runtime_folder import make_runtime_folder


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance of Vigil on Ray.

    Attributes:
        config: the server's configuration; its ports are the real ones.
        inventory: what is served from the beginning.
        runtime: folder for sockets on this machine; None on a cluster, where roles that share
            no machine use TCP.
        registry_address: where the control plane listens.
        secret: the cluster's secret for TCP channels; None with Unix sockets.
    """

    config: ServerConfig
    inventory: Inventory
    runtime: Path | None
    registry_address: str
    secret: bytes | None

    def address(self, name: str, host: str) -> str:
        """Return where a role listens: a socket named `name`, or a free TCP port of `host`."""
        return f"unix:{self.runtime}/{name}.sock" if self.runtime else f"tcp:{host}:0"

    def runtime_dir(self) -> Path:
        """Return a short private folder on the caller's machine."""
        return self.runtime or make_runtime_folder()
