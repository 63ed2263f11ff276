"""`vigil bill`: what models have used and cost in a period."""

from __future__ import annotations

import re
import time
from datetime import datetime
from typing import Annotated, Final, Literal

import typer

from serving.cli.bill_table import show, to_csv
from serving.cli.client import Client
from serving.cli.console import OUT
from serving.cli.target import ADMIN, Target, asks
from serving.control.cost.bill import Bill

Output = Literal["table", "json", "csv"]

_LAST: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhdw])")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def read_last(text: str) -> float:
    """Return the seconds of a text such as `24h`.

    Raises:
        typer.BadParameter: it is none.
    """
    found = _LAST.fullmatch(text.strip())
    if found is None:
        raise typer.BadParameter("give a number and a unit: s, m, h, d or w, such as 24h")
    return float(found[1]) * _UNITS[found[2]]


def read_time(text: str) -> float:
    """Return the Unix seconds of a date or time in ISO 8601; without an offset it is local.

    Raises:
        typer.BadParameter: it is none, or in the future.
    """
    try:
        since = datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError, OSError):
        since = -1.0
    if since < 0:
        raise typer.BadParameter("give a date or a time, such as 2026-11-30 or 2026-11-30T08:00Z")
    if since > time.time():
        raise typer.BadParameter("it is in the future; give an earlier time")
    return since


@asks(ADMIN, "the admin listener")
def bill(
    target: Target,
    model: Annotated[
        str, typer.Argument(help="Name of the model; without it: all.", show_default=False)
    ] = "",
    last: Annotated[
        float | None,
        typer.Option(
            parser=read_last, metavar="TIME", help="Period until now, such as 90m, 24h or 7d."
        ),
    ] = None,
    since: Annotated[
        float | None,
        typer.Option(parser=read_time, metavar="TIME", help="Begin of the period, ISO 8601."),
    ] = None,
    output: Annotated[Output, typer.Option(help="What is printed.")] = "table",
) -> None:
    """Print what models have used and cost; without a period, in the last 24 hours."""
    if last is not None and since is not None:
        raise typer.BadParameter("give --last or --since, not both")
    if target.as_json and output == "csv":
        raise typer.BadParameter("give --json or --output csv, not both")
    query = {"model": model} if model else {}
    if since is not None:
        query["since"] = repr(since)
    elif last is not None:
        query["last"] = repr(last)
    answer = Client(target.url).get("bill", query=query)
    found = answer.read(Bill)
    if target.as_json or output == "json":
        OUT.print_json(answer.content.decode())
    elif output == "csv":
        print(to_csv(found, alone=bool(model)), end="")  # noqa: T201 - rich would fold the lines
    else:
        show(found, alone=bool(model))
