"""What a role must not forget when it is killed: one JSON file, replaced as a whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec


class Checkpoint:
    """One file of state.

    Args:
        path: the file; its folder is made when it is missing, readable by the owner only.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def save(self, state: dict[str, Any]) -> None:
        """Replace the file; a reader sees the old state or the new one, never a part.

        Raises:
            OSError: the folder cannot be written to.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = self._path.with_suffix(".new")
        # Pending predictions and counts per group are nobody else's business.
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(state))
        temporary.replace(self._path)

    def load(self) -> dict[str, Any] | None:
        """Return what was saved last; None when there is nothing, or nothing readable."""
        try:
            state = msgspec.json.decode(self._path.read_bytes())
        except (OSError, msgspec.DecodeError):
            return None
        return state if isinstance(state, dict) else None
