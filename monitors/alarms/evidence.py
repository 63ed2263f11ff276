"""The latest look of every time scale, and what is decided from all of them together."""

from __future__ import annotations

import numpy as np

from monitors.alarms.decisions import Decisions
from monitors.alarms.standardized import Array, Mask
from monitors.alarms.standing import Standing
from monitors.alarms.tails import p_value
from monitors.alarms.units import Units


class Evidence:
    """What each scale saw last of k streams, in standard deviations of a row. Not thread-safe.

    Attributes:
        score: [scales, k] how improbable, as a normal score; 0 before a look.
        mean: [scales, k] mean of the windows, seasons included.
        error: [scales, k] estimated shift.
        variance: [scales, k] of this estimate.
    """

    def __init__(self, lengths: tuple[int, ...], streams: int) -> None:
        self._lengths = np.array(lengths, np.int64)
        self._each = np.arange(streams)
        self.score: Array = np.zeros((len(lengths), streams))
        self.mean: Array = np.zeros((len(lengths), streams))
        self.error: Array = np.zeros((len(lengths), streams))
        self.variance: Array = np.ones((len(lengths), streams))

    def decide(
        self,
        *,
        standing: Standing,
        units: Units,
        value: Array,
        accepted: Array,
        levels: Array,
        critical: Array,
        measured: Array,
        basis: tuple[str, ...],
    ) -> Decisions:
        """Return the decisions by the scale that told an alarm, else by the most improbable one.

        Args:
            standing: the alarms.
            units: of the statistics.
            value: [k] mean of the latest window; NaN where no row defined it.
            accepted: [k] shifts that are taken as normal.
            levels, critical: [scales] of p-values and of scores.
            measured: [scales, k] how many times independent rows' variance was seen.
            basis: k texts.
        """
        alarm, each = standing.alarm, self._each
        strongest = (self.score / critical[:, None]).argmax(0)
        scale = np.where(alarm, standing.scale, strongest)
        error = np.where(alarm, standing.recent - standing.expected, self.error[scale, each])
        effect = units.sd * error
        reach = 1.96 * units.sd * np.sqrt(self.variance[scale, each])
        longer = units.mean + units.sd * (self.mean[scale, each] + accepted)
        return Decisions(
            value=np.where(scale == 0, value, longer),
            effect=effect,
            low=effect - reach,
            high=effect + reach,
            p=p_value(np.where(alarm, standing.score, self.score[scale, each])),
            level=levels[scale],
            alarm=alarm.copy(),
            since=standing.since.copy(),
            scale=self._lengths[scale],
            factor=measured[scale, each],
            basis=basis,
        )

    def forget(self, streams: Mask) -> None:
        """Forget what was seen of some streams."""
        self.score[:, streams] = 0

    def arrays(self) -> dict[str, Array]:
        """Return all that is stored, by name."""
        return {
            "score": self.score,
            "mean": self.mean,
            "error": self.error,
            "variance": self.variance,
        }
