"""Rows of an open window as arrays, which a checkpoint holds whole."""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

_DTYPES: Final = ("<f8", "<f4", "<i8", "|u1")


class RowBuffer:
    """Appends arrays of rows by name; every part has the same names."""

    def __init__(self) -> None:
        self._parts: list[dict[str, np.ndarray]] = []
        self.rows = 0

    def add(self, rows: Mapping[str, np.ndarray], n: int) -> None:
        """Append n rows; nothing is kept of arrays that change later."""
        if n:
            self._parts.append({name: np.array(array) for name, array in rows.items()})
            self.rows += n

    def take(self) -> dict[str, np.ndarray]:
        """Return all rows, and forget them."""
        found = self._whole()
        self._parts, self.rows = [], 0
        return found

    def _whole(self) -> dict[str, np.ndarray]:
        if not self._parts:
            return {}
        whole = {
            name: np.concatenate([part[name] for part in self._parts]) for name in self._parts[0]
        }
        self._parts = [whole]
        return whole

    def state(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "rows": self.rows,
            "arrays": {
                name: [array.dtype.str, list(array.shape), _text(array)]
                for name, array in self._whole().items()
            },
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned.

        Raises:
            ValueError, KeyError, TypeError: it is something else; then nothing was taken from it.
        """
        found, rows = {}, int(state["rows"])
        for name, (dtype, shape, text) in state["arrays"].items():
            if dtype not in _DTYPES or (shape and shape[0] != rows):
                raise ValueError(f"the rows' '{name}' is not what was saved")
            found[name] = np.frombuffer(binascii.a2b_base64(text), dtype).reshape(shape)
        self._parts, self.rows = [found] if rows else [], rows


def _text(array: np.ndarray) -> str:
    return binascii.b2a_base64(np.ascontiguousarray(array).tobytes(), newline=False).decode()
