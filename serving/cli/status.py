"""`vigil status`: whether an instance is ready, and which versions it serves."""

from __future__ import annotations

import json

import msgspec
import typer

from serving.cli.client import Client, Refused
from serving.cli.console import OUT, complain, say
from serving.cli.target import ADMIN, Target, asks


class Said(msgspec.Struct):
    """What a member says of itself, of which only what is wrong with the log matters here."""

    log: list[str] = []


class Told(msgspec.Struct):
    """A member of the instance."""

    status: Said | None = None


class Instance(msgspec.Struct):
    """The instance's status."""

    members: list[Told] = []


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
    log = _log(client)
    if target.as_json:
        told = {
            "ready": problem is None,
            "reason": problem,
            "models": msgspec.to_builtins(rows),
            "log": log,
        }
        OUT.print_json(json.dumps(told))
    else:
        for row in rows:
            what = f"{row.name} version {row.version}" if row.version else row.name
            say(f"{what}: {row.state}" + (f" ({row.reason})" if row.reason else ""))
        for sentence in log:
            complain(sentence)
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


def _log(client: Client) -> list[str]:
    """Return what is wrong with the prediction log."""
    try:
        members = client.get("status").read(Instance).members
    except Refused:
        return []
    return [sentence for member in members if member.status for sentence in member.status.log]
