"""The running instance that a command asks, and the options that say which: written once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Concatenate, Final, ParamSpec

import typer

from serving.cli.added_options import with_options

P = ParamSpec("P")

GATEWAY: Final = "http://127.0.0.1:8000"
ADMIN: Final = "http://127.0.0.1:8002"


@dataclass(frozen=True, slots=True)
class Target:
    """A listener of a running instance.

    Attributes:
        url: where it answers HTTP, such as http://host:port.
        as_json: whether its answer is printed as JSON, for programs.
    """

    url: str
    as_json: bool = False


def asks(
    default: str, listener: str
) -> Callable[[Callable[Concatenate[Target, P], None]], Callable[..., None]]:
    """Give a command the options that say which instance it asks, in the place of its target.

    Args:
        default: the URL without `--url`.
        listener: what answers there, for the help.
    """
    options = {
        "url": (Annotated[str, typer.Option(help=f"Where {listener} answers HTTP.")], default),
        "as_json": (Annotated[bool, typer.Option("--json", help="Print JSON.")], False),
    }

    return lambda command: with_options(command, options, Target)
