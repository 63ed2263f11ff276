"""Which Ray the ray engine runs on: a small one of its own, or a cluster that is there."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import ray

from serving.config import ConfigError, ServerConfig
from serving.engines.ray.keeper import StartsTooSlowly

_MIB: Final = 1 << 20
_NAMESPACE: Final = "vigil"
_HEAD_RESOURCE: Final = "node:__internal_head__"


def object_store_bytes(config: ServerConfig) -> int:
    """Return the size of a local object store: room for what travels through Ray.

    Bodies do so only behind Serve's own proxy, and batches only with transport handle.
    """
    through_ray = config.ingress == "serve"
    bodies = 8 if through_ray else 1
    return max(128, bodies * config.listen.max_body_mib) * _MIB


@contextmanager
def connected(config: ServerConfig, runtime: Path) -> Iterator[None]:
    """Be connected to Ray: to `config.ray_address`, or to a local Ray that ends with us.

    Args:
        config: the server's configuration.
        runtime: short private folder; a local Ray puts its sockets and logs there.

    Raises:
        ConfigError: no cluster answers at that address, or no local Ray comes up;
            `StartsTooSlowly` if its own time ran out.
    """
    if config.ray_address:
        try:
            ray.init(config.ray_address, namespace=_NAMESPACE, log_to_driver=False)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ConfigError(f"ray_address {config.ray_address}: {in_short(error)}") from None
    else:
        _start_local(config, runtime)
    try:
        yield
    finally:
        ray.shutdown()


def _start_local(config: ServerConfig, runtime: Path) -> None:
    try:
        ray.init(
            # Never a cluster that happens to be named in the environment.
            "local",
            namespace=_NAMESPACE,
            include_dashboard=False,
            object_store_memory=object_store_bytes(config),
            logging_level=logging.ERROR,
            _temp_dir=str(runtime / "ray"),
        )
    except Exception as error:  # noqa: BLE001 - Ray raises just that when it took too long
        kind = StartsTooSlowly if "timed out" in str(error) else ConfigError
        raise kind(
            f"Ray does not start on this machine: {in_short(error)}; try again when it is less "
            "busy, or use --engine local"
        ) from None


def in_short(error: Exception) -> str:
    """Return what an error of Ray says, in one line of bounded length."""
    return " ".join(str(error).split())[:300].rstrip(".")


def head_address() -> str:
    """Return the IP address of the cluster's head node.

    Raises:
        ConfigError: the cluster has no living head node.
    """
    for node in ray.nodes():  # type: ignore[no-untyped-call]
        if node["Alive"] and _HEAD_RESOURCE in node["Resources"]:
            return str(node["NodeManagerAddress"])
    raise ConfigError("the Ray cluster has no living head node")


def head_only() -> dict[str, float]:
    """Return the resource request that places an actor on the head node."""
    return {_HEAD_RESOURCE: 0.001}
