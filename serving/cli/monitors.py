"""`vigil monitors`: what is watched of a model, how strictly, and what can be seen."""

from __future__ import annotations

from typing import Annotated

import typer

from serving.channel.messages.watched import WatchedModel
from serving.cli.client import Client
from serving.cli.console import OUT
from serving.cli.target import GATEWAY, Target, asks


@asks(GATEWAY, "the gateway")
def monitors(
    target: Target,
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    everything: Annotated[
        bool, typer.Option("--all", help="Print every statistic of every column.")
    ] = False,
) -> None:
    """Print what is watched of a model, how strictly, and the smallest change that is seen."""
    from serving.cli.monitor_tables import show

    answer = Client(target.url).get("v2", "models", model, "monitors")
    found = answer.read(WatchedModel)
    if target.as_json:
        OUT.print_json(answer.content.decode())
    else:
        show(found, everything=everything)
