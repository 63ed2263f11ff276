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
    unjudged: list[str] = []


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
    instance = _instance(client)
    log = [said for member in instance.members if member.status for said in member.status.log]
    if target.as_json:
        told = {
            "ready": problem is None,
            "reason": problem,
            "models": msgspec.to_builtins(rows),
            "log": log,
            "unjudged": instance.unjudged,
        }
        OUT.print_json(json.dumps(told))
    else:
        for row in rows:
            what = f"{row.name} version {row.version}" if row.version else row.name
            say(f"{what}: {row.state}" + (f" ({row.reason})" if row.reason else ""))
        for sentence in (*log, *instance.unjudged):
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


def _instance(client: Client) -> Instance:
    """Return what the instance says of itself; of what cannot be read, nothing."""
    try:
        return client.get("status").read(Instance)
    except Refused:
        return Instance()
