"""The ray engine: prepares this process, then hands over to `ray_supervisor`.

Ray reads its settings from the environment in the moment it is imported, and every process of a
local Ray inherits them. So nothing here imports it before they are set.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

from serving.channel.messages.directory import Inventory
from serving.config import Listen, ServerConfig
from serving.engines.data_folder import held
from serving.engines.local.supervisor import fixed_ports
from serving.engines.ray.keeper import Kept, keep
from serving.engines.ray.proxy import CALLBACK
from serving.engines.runtime_folder import runtime_folder
from serving.monitoring.set_aside import set_aside

_SETTINGS: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Serve's access log per request costs more than the request; what matters is in our metrics.
    "RAY_SERVE_LOG_TO_STDERR": "0",
    # A replica that hangs cannot drain: it would keep its connections for the whole grace time.
    "RAY_SERVE_FORCE_STOP_UNHEALTHY_REPLICAS": "1",
    # Without a reservation Ray hides every GPU, and `device: auto` would mean the CPU.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Gateways start Envoy by fork and exec at once, where grpc's fork handlers only complain.
    "GRPC_ENABLE_FORK_SUPPORT": "0",
    # Serve kills a proxy that is not there in time; after its 5 s a busy machine never has one.
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
    # Lines of the log reach this process as the roles wrote them: without a prefix, and every one.
    "RAY_DISABLE_WORKER_LOG_PREFIX": "1",
    "RAY_DEDUP_LOGS": "0",
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": CALLBACK,
}


TOKEN: Final = re.compile(rb"[0-9a-f]{64}\s*")


def ensure_token(data_dir: Path) -> Path:
    """Return the file with this instance's Ray token; makes it, readable by the owner only.

    Ray listens on every interface whatever address it is given, so nothing but this token keeps
    others on the network from running code here.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    path = data_dir / "ray.token"
    if path.exists():
        path.chmod(0o600)
        if TOKEN.fullmatch(path.read_bytes()):
            return path
        set_aside(path, "it is no token of 64 hexadecimal digits")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32))
    return path


def local_environment(token_file: Path) -> dict[str, str]:
    """Return what the environment of a local Ray needs: token auth, and our settings."""
    return {
        **_SETTINGS,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token_file.absolute()),
    }


def run(config: ServerConfig, inventory: Inventory, on_ready: Callable[[Listen], None]) -> int:
    """Serve with the ray engine until SIGTERM or SIGINT; returns the exit code.

    Raises:
        ConfigError: a port is taken, the cluster does not answer, another instance uses
            `data_dir`, or something the roles need is missing.
    """
    with held(config.data_dir):
        return _run(config, inventory, on_ready)


def _run(config: ServerConfig, inventory: Inventory, on_ready: Callable[[Listen], None]) -> int:
    if config.ray_address is not None:
        with runtime_folder() as runtime:
            return _drive(config, inventory, on_ready, runtime, None)
    config = config.model_copy(update={"listen": fixed_ports(config.listen)})
    os.environ.update(local_environment(ensure_token(config.data_dir)))
    with runtime_folder() as folder:
        return keep(
            lambda kept, runtime: _drive(config, inventory, on_ready, runtime, kept), Kept(folder)
        )


def _drive(
    config: ServerConfig,
    inventory: Inventory,
    on_ready: Callable[[Listen], None],
    runtime: Path,
    kept: Kept | None,
) -> int:
    from serving.engines.ray.supervisor import supervise

    return 0 if supervise(config, inventory, runtime, on_ready, kept) else 1
