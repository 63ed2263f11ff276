"""Options that several commands share, added to each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from inspect import Parameter, signature
from typing import Any


def with_options(
    command: Callable[..., None],
    options: Mapping[str, tuple[Any, Any]],
    join: Callable[..., object],
) -> Callable[..., None]:
    """Return a command that takes options in the place of its first argument.

    Args:
        command: its other arguments stay as they are.
        options: annotation and default by name.
        join: makes the first argument of the options' values, given by name.
    """

    @wraps(command)
    def run(**given: Any) -> None:
        first = join(**{name: given.pop(name) for name in options})
        command(first, **given)

    # typer makes options of what the signature says.
    own = signature(command, eval_str=True)
    _, *others = own.parameters.values()
    added = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=value, annotation=kind)
        for name, (kind, value) in options.items()
    ]
    run.__signature__ = own.replace(parameters=[*others, *added])  # type: ignore[attr-defined]
    return run
