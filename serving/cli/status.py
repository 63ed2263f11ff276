"""`vigil status`: whether an instance is ready, and which versions it serves."""

from __future__ import annotations

import json

import msgspec
import typer

from serving.cli.client import Client, Refused
from serving.cli.console import OUT, complain, say
from serving.cli.target import ADMIN, Target, asks


class Row(msgspec.Struct):
    """A version in the index of the model repository."""

    name: str
    version: str
    state: str
    reason: str


@asks(ADMIN, "the admin listener")
def status(target: Target) -> None:
    """Tell whether the instance is ready, and which versions it serves; why not, where not."""
    client = Client(target.url, patience_s=5)
    problem = _problem(client)
    rows = _rows(client)
    if target.as_json:
        told = {"ready": problem is None, "reason": problem, "models": msgspec.to_builtins(rows)}
        OUT.print_json(json.dumps(told))
    else:
        for row in rows:
            what = f"{row.name} version {row.version}" if row.version else row.name
            say(f"{what}: {row.state}" + (f" ({row.reason})" if row.reason else ""))
        if problem is None:
            say("ready")
        else:
            complain(problem)
    if problem is not None:
        raise typer.Exit(1)


def _problem(client: Client) -> str | None:
    try:
        client.get("readyz")
    except Refused as refusal:
        return refusal.message
    return None


def _rows(client: Client) -> list[Row]:
    """Return the index; one that is not there yet is none, for `readyz` says why."""
    try:
        return client.post("v2", "repository", "index").read(list[Row])
    except Refused:
        return []
