"""`vigil incidents`: what is wrong with models, since when, how bad, and what to do."""

from __future__ import annotations

import json
import time
from typing import Annotated, Final

import typer

from serving.channel.messages.incidents import ACTIVE, Demoted, Incident, IncidentList, Unknown
from serving.cli.client import Client
from serving.cli.console import OUT, say
from serving.cli.target import ADMIN, Target, asks
from serving.errors import InvalidInput
from serving.incidents.sentences import ago, how_sure, measurement, moment

_ACTIONS: Final = {
    "acknowledge": "acknowledge", "resolve": "resolve", "false-alarm": "false_alarm",
}  # fmt: skip


@asks(ADMIN, "the admin listener")
def incidents(
    target: Target,
    ident: Annotated[
        str, typer.Argument(metavar="[ID]", help="Of one incident; without it, all are listed.")
    ] = "",
    action: Annotated[
        str, typer.Argument(metavar="[ACTION]", help="acknowledge, resolve or false-alarm.")
    ] = "",
    only_open: Annotated[
        bool, typer.Option("--open", help="Only those that are not over.")
    ] = False,
    model: Annotated[str, typer.Option(help="Only those of this model.")] = "",
    note: Annotated[str, typer.Option(help="Why, for the incident's history.")] = "",
) -> None:
    """Print incidents, or one of them, or acknowledge or close one."""
    client = Client(target.url)
    if action and action not in _ACTIONS:
        raise InvalidInput(f"'{action}' is no action; give acknowledge, resolve or false-alarm")
    if note and not action:
        raise InvalidInput("--note goes with an action: acknowledge, resolve or false-alarm")
    if action:
        body = json.dumps({"action": _ACTIONS[action], "note": note}).encode()
        answer = client.post("v2", "incidents", ident, body=body)
    elif ident:
        answer = client.get("v2", "incidents", ident)
    else:
        query = {"state": ",".join(ACTIVE)} if only_open else {}
        answer = client.get(
            "v2", "incidents", query={**query, **({"model": model} if model else {})}
        )
    if target.as_json:
        _ = answer.read(Incident if ident else IncidentList)
        OUT.print_json(answer.content.decode())
    elif ident:
        _show(answer.read(Incident), time.time())
    else:
        _list(answer.read(IncidentList), time.time())


def _list(found: IncidentList, now: float) -> None:
    for each in found.incidents:
        say(f"{_head(each)}: {each.summary}")
        say(f"    {_times(each, now)}")
        if each.active and each.evidence.cause is not None:
            say(f"    why: {each.evidence.cause.summary}")
        if each.active:
            say(f"    to do: {each.advice}")
    if not any(each.active for each in found.incidents):
        say("no incident is open")
    for unknown in found.unknown:
        say(_unknown(unknown, now))
    for demoted in found.demoted:
        say(_demoted(demoted))
    for note in found.notes:
        say(note)


def _show(one: Incident, now: float) -> None:
    say(one.summary)
    say(f"since:   {moment(one.evidence.since)} ({ago(now - one.evidence.since)} ago)")
    bad = f"{one.severity}, {_state(one)}"
    if one.demoted_from:
        bad += f"; it would be a {one.demoted_from}, if its rule had raised fewer false alarms"
    say(f"how bad: {bad}")
    if one.active:
        say(f"to do:   {one.advice}")
        verbs = "resolve|false-alarm" if one.state == "acknowledged" else "|".join(_ACTIONS)
        say(f"then:    vigil incidents {one.id} {verbs}")
    leading = one.evidence.leading
    if sure := how_sure(leading):
        rows = leading.n_reference
        say(f"rests on {sure}" + (f"; reference {rows} rows" if rows else ""))
    if one.evidence.reason:
        say(f"reason: {one.evidence.reason}")
    for each in one.evidence.top:
        say(f"  - {measurement(each)}" + (f" ({how})" if (how := how_sure(each)) else ""))
    if one.evidence.breached > len(one.evidence.top) > 0:
        say(f"  and {one.evidence.breached - len(one.evidence.top)} more")
    if one.evidence.cause is not None:
        say(f"why:     {one.evidence.cause.summary}")
    deployment = one.evidence.deployment
    if deployment is not None:
        say(f"last deployment before it: version {deployment.version}, {moment(deployment.at)}")
    say("history:")
    for event in one.history:
        say(f"  {moment(event.at)}  {event.what}" + (f": {event.note}" if event.note else ""))


def _head(one: Incident) -> str:
    return f"{one.id}  {one.severity.upper()}  {_state(one)}"


def _state(one: Incident) -> str:
    return one.state.replace("_", " ")


def _times(one: Incident, now: float) -> str:
    since = f"since {moment(one.evidence.since)}"
    if one.closed_at is not None:
        return f"{since}, over {ago(now - one.closed_at)} ago"
    lasts, last = ago(now - one.evidence.since), ago(now - one.updated_at)
    said = f"{since}, for {lasts}; breached last {last} ago"
    if one.quiet_windows:
        said += f", {one.quiet_windows} quiet windows since then"
    return said


def _unknown(one: Unknown, now: float) -> str:
    what = f"{one.cause} of model '{one.model}'" if one.model else one.cause
    said = f"unknown: {what} for {ago(now - one.since)}: {one.why}"
    if one.ticket_at is not None and one.ticket_at > now:
        said += f"; a ticket in {ago(one.ticket_at - now)}"
    return said


def _demoted(one: Demoted) -> str:
    lower = "one severity" if one.steps == 1 else "two severities"
    return (
        f"believed less: {one.monitor} {one.metric} of model '{one.model}' is {lower} lower, "
        f"because {one.false_alarms} of its last {one.incidents} incidents were false alarms "
        f"(its budget is {one.budget:.0%})"
    )
