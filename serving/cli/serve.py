"""Serving until SIGTERM, with the engine that the configuration names."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from serving.cli.console import say
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report
from serving.telemetry.logs.setup import configure

if TYPE_CHECKING:
    from serving.config import Listen, ServerConfig

SUPERVISOR: Final = "supervisor"
"""The role, in the log, of a process that starts a server."""


def serve(settings: ServerConfig, only: Sequence[str] | None = None) -> int:
    """Serve the models, or those in `only`; return the exit code."""
    from serving.control.served_model import inventory
    from serving.models.repository.folder import ModelRepository
    from serving.telemetry.process_title import set_title

    set_title(SUPERVISOR)
    telemetry = settings.telemetry
    logs = (telemetry.logs.endpoint, telemetry.logs.protocol)
    configure(SUPERVISOR, telemetry.log_format, telemetry.log_level, collector=logs)
    ready = _announcer(time.monotonic())
    repository = ModelRepository(settings.models, settings.remote_hosts, settings.log)
    found = inventory(repository, only)
    if settings.engine == "local":
        from serving.engines.local import supervisor as local

        code = local.run(settings, found, ready)
    else:
        from serving.engines.ray import engine as ray_engine

        code = ray_engine.run(settings, found, ready)
    said = "the server has stopped"
    if code:
        said += ", and not every request in flight was answered"
    report(Event.SERVER_STOPPED, said, code=code)
    return code


def _announcer(started: float) -> Callable[[Listen], None]:
    """Return what says where the server listens; `started` is by the monotonic clock."""

    def ready(listen: Listen) -> None:
        seconds = time.monotonic() - started
        host, admin_host = _in_url(listen.host), _in_url(listen.admin_host)
        say(
            f"ready after {seconds:.1f} s: "
            f"HTTP http://{host}:{listen.http_port}  gRPC {host}:{listen.grpc_port}  "
            f"console http://{admin_host}:{listen.admin_port}/console"
        )
        report(Event.SERVER_READY, "every required model answers", seconds=round(seconds, 1))

    return ready


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
