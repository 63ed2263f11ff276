"""`vigil findings`: the latest findings of a model."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from serving.cli.client import Client
from serving.cli.console import OUT, cell, say
from serving.cli.target import ADMIN, GATEWAY, Target, asks

_COLUMNS = (
    "version", "monitor", "metric", "subject", "value", "threshold", "p", "rows", "age", "verdict",
)  # fmt: skip


class Finding(msgspec.Struct):
    """What the table shows of a finding."""

    version: str
    monitor: str
    metric: str
    subject: str
    value: float | None
    threshold: float | None
    p_value: float | None
    n_current: int
    age_s: float
    breached: bool | None
    reason: str | None
    segment: str = ""


class Findings(msgspec.Struct):
    """The findings of a model, and notes on what is not watched."""

    findings: list[Finding]
    notes: list[str]


class Reset(msgspec.Struct):
    """What a reset of the reference did."""

    drift: str


@asks(GATEWAY, "the gateway")
def findings(
    target: Target,
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    reset_reference: Annotated[
        bool,
        typer.Option("--reset-reference", help="Begin a new live reference of its drift."),
    ] = False,
    admin_url: Annotated[
        str, typer.Option(help="Where the admin listener answers: it resets references.")
    ] = ADMIN,
) -> None:
    """Print the latest findings of a model."""
    if reset_reference:
        answer = Client(admin_url).post("models", model, "reset-reference")
        said = answer.read(Reset)
    else:
        answer = Client(target.url).get("v2", "models", model, "findings")
        found = answer.read(Findings)
    if target.as_json:
        OUT.print_json(answer.content.decode())
    elif reset_reference:
        say(f"drift of model '{model}': {said.drift}")
    else:
        _show(found)


def _show(found: Findings) -> None:
    from rich.table import Column, Table

    # Cut short, the names of columns could not be told apart.
    table = Table(*(Column(name, overflow="fold") for name in _COLUMNS))
    for item in found.findings:
        table.add_row(*_cells(item))
    if found.findings:
        OUT.print(table)
    for note in found.notes:
        say(note)


def _cells(item: Finding) -> tuple[str, ...]:
    unknown = f"unknown: {cell(item.reason or '')}"
    return (
        cell(item.version), cell(item.monitor), cell(item.metric), cell(_about(item)),
        _number(item.value), _number(item.threshold, ""),
        "" if item.p_value is None else f"{item.p_value:.2g}",
        str(item.n_current), _age(item.age_s),
        {True: "[bold red]breached", False: "fine", None: unknown}[item.breached],
    )  # fmt: skip


def _about(item: Finding) -> str:
    """Say what it is about: a column or an attribute, and which rows where not all."""
    return f"{item.subject} where {item.segment}".lstrip() if item.segment else item.subject


def _number(value: float | None, none: str = "unknown") -> str:
    return none if value is None else f"{value:.4g}"


def _age(seconds: float) -> str:
    """Say how long ago a window ended, in the largest unit that is not one."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return "< 2 min"
