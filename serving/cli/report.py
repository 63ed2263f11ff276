"""`vigil report`: one report of a model, made by a running instance."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from serving.cli.client import Client
from serving.cli.console import say
from serving.cli.target import GATEWAY, Target, asks
from serving.errors import VigilError

PATIENCE_S: Final = 150.0
"""A little longer than a report may take."""


@asks(GATEWAY, "the gateway")
def report(
    target: Target,
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    kind: Annotated[
        str, typer.Argument(help="drift, performance, fairness or quality.")
    ] = "performance",
    last: Annotated[
        str | None, typer.Option(help="From the log of the last so long: 24h, 7d.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="From this time on: 2026-01-31T12:00:00Z, or a date.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Before this time.")] = None,
    version: Annotated[
        str | None, typer.Option(help="Which version; none: the one that has answered last.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where to write it; none: MODEL-KIND.html, or .json.")
    ] = None,
) -> None:
    """Have a report of a model made, and write it to a file."""
    form = "json" if target.as_json else "html"
    asked = {"format": form, "last": last, "since": since, "until": until, "version": version}
    query = {name: value for name, value in asked.items() if value is not None}
    client = Client(target.url, patience_s=PATIENCE_S)
    answer = client.get("v2", "models", model, "reports", kind, query=query)
    file = out or Path(f"{model.replace('/', '_')}-{kind}.{form}")
    try:
        file.write_bytes(answer.content)
    except OSError as error:
        raise VigilError(f"{file}: the report cannot be written: {error.strerror}") from None
    say(f"the report of {kind} is in {file}")
