"""Rules for the names of inputs and outputs in a request."""

from __future__ import annotations

from collections.abc import Sequence

from serving.errors import InvalidInput


def refuse_twice(what: str, names: Sequence[str]) -> None:
    """Check that no name of an input or output (`what`) is given twice.

    Raises:
        InvalidInput: one is.
    """
    if len(set(names)) == len(names):
        return
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InvalidInput(f"{what} '{name[:80]}' is given twice")
        seen.add(name)
