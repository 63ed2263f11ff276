"""The evidence of a drift finding: what has moved, how that was decided, and the histograms."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from monitors.alarms.decisions import Decisions
from monitors.drift.features.vector import Stream
from monitors.reference.categorical_column import CategoricalColumn
from monitors.reference.numeric_column import NumericColumn
from monitors.reference.row_codes import Track

DIGITS: Final = 4
"""Significant digits of figures that are only shown."""


class Decided:
    """What a law has decided about a window, for one stream after the other.

    Args:
        decisions: of all streams.
    """

    def __init__(self, decisions: Decisions) -> None:
        self._decisions = decisions
        self._levels = np.broadcast_to(
            decisions.level, decisions.p.shape
        )  # one of all, or one each

    def of(self, at: int, stream: Stream) -> dict[str, Any]:
        """Return how one stream was decided, as JSON values.

        Args:
            at: its number.
            stream: its name.
        """
        told = self._decisions
        return {
            "moved": stream.statistic,
            "value": _short(told.value[at]),
            "effect": _short(told.effect[at]),
            "interval": [_short(told.low[at]), _short(told.high[at])],
            "level": _short(self._levels[at] * told.streams),
            "windows": int(told.scale[at]),
            "factor": _short(told.factor[at]),
            "basis": told.basis[at],
        }


def histogram(track: Track, current: np.ndarray) -> dict[str, Any]:
    """Return the counts of the reference and of a window, as JSON values.

    Of a numeric column: finite values between `edges`, the first bin below the first edge and the
    last above the last, and beside them `infinite` and `missing` as [reference, window]. Of a
    categorical one: by `labels`.

    Args:
        track: whose counts, with those of the reference.
        current: of the window, int64 [bins].
    """
    reference = track.bins.counts
    if isinstance(track.bins, CategoricalColumn):
        return {
            "kind": "categorical",
            "labels": track.bins.labels,
            "reference": reference.tolist(),
            "current": current.tolist(),
        }
    return _numeric(track.bins, reference, current)


def _numeric(column: NumericColumn, reference: np.ndarray, current: np.ndarray) -> dict[str, Any]:
    both = (reference, current)
    return {
        "kind": "numeric",
        "edges": column.edges.tolist(),
        "reference": reference[1:-2].tolist(),
        "current": current[1:-2].tolist(),
        "infinite": [int(each[0] + each[-2]) for each in both],
        "missing": [int(each[-1]) for each in both],
    }


def rounded(value: Any) -> Any:
    """Return a number, or each of a list, with few digits; None where it is no finite one."""
    if isinstance(value, list):
        return [rounded(each) for each in value]
    if isinstance(value, (str, int)):
        return value
    return _short(value)


def _short(value: float) -> float | None:
    number = float(value)
    return float(f"{number:.{DIGITS}g}") if math.isfinite(number) else None
