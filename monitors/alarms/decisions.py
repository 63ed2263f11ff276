"""What a law of alarms says about one cell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """For each of k streams: what it is, what it was expected to be, and whether to tell.

    `value`, `effect`, `low` and `high` are in the statistic's own unit, and of the deciding scale:
    the time scale whose evidence is the strongest.

    Attributes:
        value: [k] mean over the windows of the deciding scale; NaN where no row defined it.
        effect: [k] difference to what was expected at this time.
        low, high: [k] 95 % interval of `effect`.
        p: [k] of the deciding scale's difference, two-sided, before the budget is shared.
        level: [k] what `p` is held against: the budget's share of a stream, look and scale.
        alarm: [k] bool; stays on until the stream was back for some windows.
        since: [k] when the change began, estimated, in seconds since the epoch; NaN without alarm.
        scale: [k] int, windows of the deciding scale.
        factor: [k] how many times as much the scale's means vary as those of independent rows.
        basis: k texts: what the expected variation is known from.
    """

    value: npt.NDArray[np.float64]
    effect: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    p: npt.NDArray[np.float64]
    level: npt.NDArray[np.float64]
    alarm: npt.NDArray[np.bool_]
    since: npt.NDArray[np.float64]
    scale: npt.NDArray[np.int64]
    factor: npt.NDArray[np.float64]
    basis: tuple[str, ...]

    @property
    def streams(self) -> int:
        """How many streams were decided, k."""
        return len(self.value)
