"""Evidence that a metric is beyond its threshold, added up over windows without labels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

QUARTER_S: Final = 90 * 86_400.0
_OVER: Final = math.log(8.0)
"""How far evidence goes beyond what an alert needs: more would take long to be over."""


def conformal_p(estimate: float, threshold: float, errors: np.ndarray, direction: str) -> float:
    """Return the p-value of the estimate if the realised value is on the good side.

    Source: Vovk, Gammerman and Shafer (2005), "Algorithmic learning in a random world".

    Args:
        estimate: of a window.
        threshold: that the realised value should keep.
        errors: estimate - realised of chunks of the reference, [n]; NaN among them is left out.
        direction: on which side of the threshold it is bad.
    """
    known = errors[~np.isnan(errors)]
    least = estimate - threshold
    as_far = known <= least if direction == "below" else known >= least
    return float((1 + as_far.sum()) / (1 + len(known)))


class HarmEvidence:
    """An e-detector over the p-values of windows.

    Each p-value gives a bet of e = p^(-1/2) / 2, and evidence is their product from the best
    beginning on. An alert needs as much as there are windows in a quarter for each alert that may
    be false, so a metric that is just at its threshold raises no more than that.

    Sources: Shin, Ramdas and Rinaldo (2022), arXiv:2203.03532 (e-detectors); Vovk and Wang (2021),
    arXiv:1912.06116 (from p-values to e-values).

    Args:
        rate: false alerts that are expected per quarter.
        least_s: seconds between two windows at least.
    """

    def __init__(self, rate: float, least_s: float) -> None:
        self._rate, self._least_s = rate, max(least_s, 1.0)
        self._log = 0.0
        self._windows = 0
        self._first = self._last = 0.0
        self.since: float | None = None
        """When the evidence began to gather; None: there is none."""

    def add(self, p: float, began: float, ended: float) -> bool:
        """Take in a window; returns whether the evidence is enough.

        Args:
            p: see `conformal_p`.
            began, ended: the span of the window, seconds since the epoch.
        """
        self._first = ended if not self._windows else min(self._first, ended)
        self._last = max(self._last, ended)
        self._windows += 1
        if self._log <= 0:
            self._log, self.since = 0.0, began
        self._log += -math.log(2) - math.log(p) / 2
        if self._log <= 0:
            self.since = None
        self._log = min(self._log, self.needed + _OVER)
        return self._log >= self.needed

    @property
    def needed(self) -> float:
        """The logarithm of the evidence that an alert needs."""
        pace = self._least_s
        if self._windows > 1:
            pace = max((self._last - self._first) / (self._windows - 1), pace)
        # Where a quarter has few windows, one of them is still not enough of itself.
        return math.log(max(QUARTER_S / pace / self._rate, 20.0))

    def state(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "log": self._log,
            "windows": self._windows,
            "span": [self._first, self._last],
            "since": self.since,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        log, windows, since = float(state["log"]), int(state["windows"]), state["since"]
        first, last = (float(each) for each in state["span"])
        self._log, self._windows, self.since = log, windows, since
        self._first, self._last = first, last
