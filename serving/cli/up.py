"""`vigil up` and `vigil demo`: serve a folder of models, or the demo's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from serving.cli.console import with_progress
from serving.cli.serve import SUPERVISOR, serve
from serving.cli.server_options import (
    ConfigPath,
    DataDir,
    DrainDelay,
    EngineName,
    HostName,
    IngressName,
    Insecure,
    ModelsDir,
    Port,
    overrides,
)
from serving.config import load_server
from serving.telemetry.logs.setup import configure


def up(
    config: ConfigPath = None,
    engine: EngineName = None,
    ingress: IngressName = None,
    transport: Annotated[str | None, typer.Option(help="channel or handle.")] = None,
    models: ModelsDir = None,
    data_dir: DataDir = None,
    host: HostName = None,
    http_port: Port = None,
    grpc_port: Port = None,
    admin_port: Port = None,
    drain_delay_s: DrainDelay = None,
    insecure: Insecure = False,
) -> None:
    """Serve the models until SIGTERM."""
    configure(SUPERVISOR)
    raise typer.Exit(serve(load_server(config, overrides(**locals()))))


def demo(
    engine: EngineName = None,
    ingress: IngressName = None,
    models: ModelsDir = None,
    data_dir: DataDir = None,
    host: HostName = None,
    http_port: Port = None,
    grpc_port: Port = None,
    admin_port: Port = None,
    insecure: Insecure = False,
    build_only: Annotated[bool, typer.Option(help="Build the models, do not serve.")] = False,
) -> None:
    """Build the demo models, then serve them."""
    configure(SUPERVISOR)
    given = overrides(**locals())
    given.setdefault("models", Path("demo-models"))
    settings = load_server(None, given)
    _build(settings.models)
    if not build_only:
        raise typer.Exit(serve(settings))


def _build(models: Path) -> None:
    from serving.demo.build import build_demo

    with_progress(lambda report: build_demo(models, report))
