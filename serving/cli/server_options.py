"""The options that the commands which start or check a server share, and what they configure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Concatenate, Final, ParamSpec

import typer

from serving.cli.added_options import with_options

P = ParamSpec("P")

ConfigPath = Annotated[
    Path | None,
    typer.Argument(help="vigil.yaml; without it the defaults and the options below."),
]
ModelsDir = Annotated[Path | None, typer.Option(help="Folder of the models.")]
_PORT = Annotated[int | None, typer.Option(min=0, max=65535)]
_OPTIONS: Final[dict[str, tuple[Any, Any]]] = {
    "engine": (Annotated[str | None, typer.Option(help="ray or local.")], None),
    "ingress": (Annotated[str | None, typer.Option(help="direct, envoy or serve.")], None),
    "transport": (Annotated[str | None, typer.Option(help="channel or handle.")], None),
    "models": (ModelsDir, None),
    "data_dir": (
        Annotated[
            Path | None,
            typer.Option(
                help="Where the monitor keeps its state; each running instance needs its own."
            ),
        ],
        None,
    ),
    "host": (Annotated[str | None, typer.Option(help="Address to bind.")], None),
    "http_port": (_PORT, None),
    "grpc_port": (_PORT, None),
    "admin_port": (_PORT, None),
    "drain_delay_s": (
        Annotated[
            float | None,
            typer.Option(
                help="At SIGTERM: seconds of being not ready, with all answered, before the end."
            ),
        ],
        None,
    ),
    "insecure": (
        Annotated[
            bool,
            typer.Option("--insecure", help="Bind beyond loopback although nothing authenticates."),
        ],
        False,
    ),
}

_TOP = ("engine", "ingress", "transport", "models", "data_dir", "drain_delay_s")
_LISTEN = ("host", "http_port", "grpc_port", "admin_port")


def overrides(**given: Any) -> dict[str, Any]:
    """Turn command-line options into configuration; options not given are left out."""
    top = {name: given[name] for name in _TOP if given.get(name) is not None}
    listen = {name: given[name] for name in _LISTEN if given.get(name) is not None}
    if listen:
        top["listen"] = listen
    if given.get("insecure"):
        top["insecure"] = True
    return top


def starts(
    *, without: tuple[str, ...] = (), **defaults: Any
) -> Callable[[Callable[Concatenate[dict[str, Any], P], None]], Callable[..., None]]:
    """Give a command the options of a server; its first argument is what they configure.

    Args:
        without: options that it does not have.
        defaults: of options, where they are not those of the configuration.
    """
    options = {
        name: (kind, defaults.get(name, value))
        for name, (kind, value) in _OPTIONS.items()
        if name not in without
    }
    return lambda command: with_options(command, options, overrides)
