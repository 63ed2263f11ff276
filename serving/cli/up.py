"""`vigil up` and `vigil demo`: serve a folder of models, or the demo's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from serving.cli.console import with_progress
from serving.cli.serve import SUPERVISOR, serve
from serving.cli.server_options import ConfigPath, starts
from serving.config import load_server
from serving.telemetry.logs.setup import configure


@starts()
def up(given: dict[str, Any], config: ConfigPath = None) -> None:
    """Serve the models until SIGTERM."""
    configure(SUPERVISOR, sends=False)
    raise typer.Exit(serve(load_server(config, given)))


@starts(without=("transport", "drain_delay_s"), models=Path("demo-models"))
def demo(
    given: dict[str, Any],
    build_only: Annotated[bool, typer.Option(help="Build the models, do not serve.")] = False,
) -> None:
    """Build the demo models, then serve them."""
    configure(SUPERVISOR, sends=False)
    settings = load_server(None, given)
    _build(settings.models)
    if not build_only:
        raise typer.Exit(serve(settings))


def _build(models: Path) -> None:
    from serving.demo.build import build_demo

    with_progress(lambda report: build_demo(models, report))
