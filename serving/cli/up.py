"""`vigil up`: serve a folder of models."""

from __future__ import annotations

from typing import Any

import typer

from serving.cli.serve import SUPERVISOR, serve
from serving.cli.server_options import ConfigPath, starts
from serving.telemetry.logs.setup import configure


@starts()
def up(given: dict[str, Any], config: ConfigPath = None) -> None:
    """Serve the models until SIGTERM."""
    # Here, because every command would wait for it: pydantic, and numpy.
    from serving.config import load_server

    configure(SUPERVISOR, sends=False)
    raise typer.Exit(serve(load_server(config, given)))
