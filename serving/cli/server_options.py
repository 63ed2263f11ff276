"""The options that the commands which start or check a server share, and what they configure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

ConfigPath = Annotated[
    Path | None,
    typer.Argument(help="vigil.yaml; without it the defaults and the options below."),
]
EngineName = Annotated[str | None, typer.Option(help="ray or local.")]
IngressName = Annotated[str | None, typer.Option(help="direct, envoy or serve.")]
ModelsDir = Annotated[Path | None, typer.Option(help="Folder of the models.")]
DataDir = Annotated[
    Path | None,
    typer.Option(help="Where the monitor keeps its state; each running instance needs its own."),
]
HostName = Annotated[str | None, typer.Option(help="Address to bind.")]
Port = Annotated[int | None, typer.Option(min=0, max=65535)]
DrainDelay = Annotated[
    float | None,
    typer.Option(help="At SIGTERM: seconds of being not ready, with all answered, before the end."),
]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="Bind beyond loopback although nothing authenticates.")
]

_TOP = ("engine", "ingress", "transport", "models", "data_dir", "drain_delay_s")
_LISTEN = ("host", "http_port", "grpc_port", "admin_port")


def overrides(**given: Any) -> dict[str, Any]:
    """Turn command-line options into configuration; options not given are left out."""
    top = {name: given[name] for name in _TOP if given.get(name) is not None}
    listen = {name: given[name] for name in _LISTEN if given.get(name) is not None}
    if listen:
        top["listen"] = listen
    if given.get("insecure"):
        top["insecure"] = True
    return top
