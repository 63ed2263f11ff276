"""What was estimated when, so that labels which come weeks later can be compared with it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

_MOST: Final = 512


class PastEstimates:
    """Estimates of windows by time, the denser the later: when it is full, one goes that has
    neighbours close to it for its age.

    Args:
        metrics: names, whose order that of the values is.
    """

    def __init__(self, metrics: Sequence[str]) -> None:
        self._metrics = list(metrics)
        self._times: list[float] = []
        self._values: list[list[float]] = []

    def add(self, began: float, estimates: Mapping[str, float]) -> None:
        """Keep the estimates of a window that began then; windows come in their order."""
        if self._times and began <= self._times[-1]:
            began = self._times[-1]
        self._times.append(began)
        self._values.append([estimates.get(name, float("nan")) for name in self._metrics])
        if len(self._times) > _MOST:
            self._thin()

    def _thin(self) -> None:
        times = np.array(self._times)
        gaps = times[2:] - times[:-2]
        least = int(np.argmin(gaps / np.maximum(times[-1] - times[1:-1], 1e-9))) + 1
        del self._times[least], self._values[least]

    def at(self, times: np.ndarray) -> np.ndarray:
        """Return what was estimated of the windows that rows were in, float64 [n, metrics].

        A row between two windows has the estimates of the earlier one; NaN: there is no window.

        Args:
            times: when rows were answered, [n].
        """
        if not self._times:
            return np.full((len(times), len(self._metrics)), np.nan)
        places = [max(bisect_right(self._times, time) - 1, 0) for time in times.tolist()]
        return np.array(self._values, np.float64)[places]

    def state(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        values = [[None if each != each else each for each in row] for row in self._values]
        return {"metrics": self._metrics, "times": self._times[:], "values": values}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned.

        Raises:
            ValueError: it is of other metrics.
        """
        if state["metrics"] != self._metrics:
            raise ValueError("the estimates are of other metrics")
        values = [
            [float("nan") if each is None else each for each in row] for row in state["values"]
        ]
        self._times, self._values = list(state["times"]), values
