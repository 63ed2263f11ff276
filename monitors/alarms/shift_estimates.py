"""Estimates of a lasting shift from one-window forecast errors, whatever the dependence.

A shift shows in forecast errors at first, and less and less as forecasts are made from shifted
windows: its signature follows from the forecast's coefficients. Generalised least squares on the
latest errors is the most powerful test for a shift that began L windows ago (Basseville and
Nikiforov 1993, "Detection of Abrupt Changes", section 7.2: the signature of additive changes).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from monitors.alarms.standardized import Array, Mask

LONGEST: Final = 144
"""Windows of the longest scale that this is done for."""


class ShiftEstimates:
    """The latest errors of k streams and the signature of a shift in them. Not thread-safe.

    Args:
        spans: of the averages that windows are forecast from.
        streams: k.
    """

    def __init__(self, spans: tuple[int, ...], streams: int) -> None:
        # Twice in a row, so that the latest ones are always one slice.
        self.errors: Array = np.zeros((2 * LONGEST, streams))
        self.weights: Array = np.zeros((2 * LONGEST, streams))
        self.at: npt.NDArray[np.int64] = np.zeros(1, np.int64)
        kept = np.array([1 - 2 / (span + 1) for span in spans])
        self._followed: Array = 1 - kept[:, None] ** np.arange(float(LONGEST))
        self._signature: Array = np.ones((LONGEST, streams))
        self._squared: Array = np.ones((LONGEST, streams))

    def set(self, coefficients: Array) -> None:
        """Take the coefficients [spans, k] that windows are forecast with from now on."""
        followed = np.einsum("sw,sk->wk", self._followed, coefficients)
        self._signature = np.clip(1 - followed, 0.0, 1.5)
        self._squared = self._signature**2

    def push(self, error: Array, weight: Array) -> None:
        """Take in the error [k] of a window; `weight` is 1, or less at hours that jump."""
        at = int(self.at[0])
        for place in (at, at + LONGEST):
            self.errors[place] = error * weight
            self.weights[place] = weight
        self.at[0] = (at + 1) % LONGEST

    def estimate(self, windows: int) -> tuple[Array, Array]:
        """Return the shift [k] that began so many windows ago, and its information [k].

        The variance of the estimate is that of a window's error, over the information.
        """
        end = int(self.at[0]) + LONGEST
        latest = slice(end - windows, end)
        signature, squared = self._signature[:windows], self._squared[:windows]
        score = np.einsum("wk,wk->k", signature, self.errors[latest])
        information = np.einsum("wk,wk->k", squared, self.weights[latest])
        return score / np.maximum(information, 1e-9), np.maximum(information, 1e-9)

    def information(self, windows: int) -> Array:
        """Return the information [k] of so many windows at ordinary hours."""
        information: Array = np.maximum(self._squared[:windows].sum(0), 1e-9)
        return information

    def followed(self, windows: int) -> Array:
        """Return how little of a shift's estimate is left if it began a window later, 0 to 1 [k].

        0: the estimate is the same, as of streams without memory.
        """
        signature = self._signature
        later = signature[1 : windows + 1] if windows < LONGEST else signature[1:]
        alike = np.einsum("wk,wk->k", signature[: len(later)], later)
        followed: Array = 1 - np.clip(alike / self.information(len(later)), 0.0, 1.0)
        return followed

    def settle(self, streams: Mask) -> None:
        """Forget the errors of some streams."""
        self.errors[:, streams] = 0

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return all that is stored, by name."""
        return {"errors": self.errors, "weights": self.weights, "at": self.at}
