"""How much more a metric varies than independent rows make it, by the length of time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from monitors.performance.metrics.estimate import Estimate, Level, Metric
from monitors.statistics.dispersion import Dispersion
from monitors.windows.aged_blocks import AgedBlocks

SCALES: Final = (1, 4, 16, 64)
"""Windows that are taken together."""


class ScaleDispersion:
    """A factor per metric and scale: neighbouring stretches of time are compared.

    Neighbours are what a lasting change is seen in only once, so that a loss does not pass for
    natural variation (the Allan variance; Allan (1966), "Statistics of atomic frequency standards",
    Proceedings of the IEEE 54(2)). Slow variation is seen on the long scales.

    Args:
        metrics: that have factors.
    """

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics
        self._found = {each.name: Dispersion(len(SCALES)) for each in metrics}

    def factors(self, metric: str, windows: np.ndarray) -> np.ndarray:
        """Return the factor of each lookback, 1 or more, [m].

        Args:
            metric: its name.
            windows: how long the lookbacks are, [m].
        """
        scale = np.searchsorted(SCALES, windows, side="right") - 1
        by_scale = np.array(self._by_scale(self._found[metric]))
        factors: np.ndarray = by_scale[np.maximum(scale, 0)]
        return factors

    def _by_scale(self, found: Dispersion) -> list[float]:
        """What varies from window to window varies at least as much from day to day."""
        factors: list[float] = []
        for at in range(len(SCALES)):
            before = factors[-1] if factors else 1.0
            factors.append(max(found.factor(at, before), before))
        return factors

    def closed(self, blocks: AgedBlocks) -> None:
        """Take note that a window has closed."""
        due = [
            (at, *stretches)
            for at, scale in enumerate(SCALES)
            if blocks.windows % scale == 0 and (stretches := _neighbours(blocks, scale))
        ]
        if not due:
            return
        sums = np.array([each for _, *both in due for each in (*both, both[0] + both[1])])
        level = Level(np.full(len(sums), 0.5), np.ones(len(sums)))
        for metric in self._metrics:
            squares = _squares(metric.of(sums, level))
            found = self._found[metric.name]
            by_scale = self._by_scale(found)
            for (at, *_), square in zip(due, squares.tolist(), strict=True):
                known = np.isfinite(square)
                expected = by_scale[at - 1] if at else 1.0
                found.add(at, square if known else 0.0, int(known), expected)

    def state(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {name: found.state() for name, found in self._found.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned; metrics that had no factor begin with one."""
        for name, found in self._found.items():
            if name in state:
                found.restore(state[name])


def _neighbours(blocks: AgedBlocks, scale: int) -> tuple[np.ndarray, np.ndarray] | None:
    latest, before = blocks.between(0, scale), blocks.between(scale, 2 * scale)
    return None if latest is None or before is None else (latest, before)


def _squares(found: Estimate) -> np.ndarray:
    """Return squares of standardised differences, of triples of two stretches and both of them."""
    value, rows = found.value.reshape(-1, 3), found.rows.reshape(-1, 3)
    error = found.error.reshape(-1, 3)[:, 2]
    with np.errstate(all="ignore"):
        variance = error**2 * rows[:, 2] ** 2 / (rows[:, 0] * rows[:, 1])
        squares: np.ndarray = np.where(
            variance > 0, (value[:, 0] - value[:, 1]) ** 2 / variance, np.nan
        )
    return squares
