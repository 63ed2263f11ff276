"""Windows and groups of rows that are counted in one way."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from monitors.fairness.counting import Counted
from monitors.fairness.error_scale import ErrorScale, amounts
from monitors.fairness.pooled_groups import Judged, PooledGroups, With, counted
from monitors.windows.tumbling_window import TumblingWindow

LEARNING: Final = "the size of errors is learnt from a first window of labelled rows"


class Side:
    """Counts one way of counting by window and group, for each subject.

    Args:
        way: what is counted.
        subjects: attributes, and all of them together.
        window, rate, min_rows, reference: see `GroupFairnessMonitor` and `PooledGroups`.
    """

    def __init__(
        self, way: Counted, subjects: Sequence[str], window: int, rate: float, min_rows: int,
        reference: With,
    ) -> None:  # fmt: skip
        self.way = way
        self.window = TumblingWindow(window)
        figures = tuple(dict.fromkeys(each for of in way.definitions for each in of.figures))
        self.groups = {
            subject: PooledGroups(figures, way.columns, rate, min_rows, reference)
            for subject in subjects
        }
        self.last: tuple[float, float] = (math.nan, math.nan)
        self.ident = ""
        self._scale = ErrorScale() if way.scaled else None
        self._sums = np.zeros(way.columns)

    @property
    def scale(self) -> float | None:
        """What differences are multiplied by, to be in the model's units; None: it is learnt."""
        return 1.0 if self._scale is None else self._scale.value

    @property
    def judged(self) -> bool:
        """Whether there is something that can be judged."""
        return bool(self.ident) and all(each.windows for each in self.groups.values())

    def add(
        self,
        codes: Mapping[str, np.ndarray],
        what: np.ndarray,
        time: float,
        positions: np.ndarray | Sequence[int],
        closed: Callable[[], None],
    ) -> None:
        """Count rows in windows; `closed` is called after each that is full.

        Args:
            codes: of the rows' groups by subject, int64 [n] each.
            what: see `Counting.of`.
            time: seconds since the epoch.
            positions: see `Rows.positions`.
            closed: takes nothing.
        """

        def count(part: slice) -> None:
            of_rows = what[part]
            if self._scale is not None:
                if self._scale.value is None:
                    self._scale.learn(of_rows)
                    return
                of_rows = amounts(of_rows, self._scale.value)
                self._sums += np.nansum(of_rows, axis=0)
            for subject, groups in self.groups.items():
                groups.add(time, codes[subject][part], of_rows, positions[part])

        def close() -> None:
            self.last, self.ident = self.window.span, self.window.ident
            self._close()
            closed()

        self.window.add(len(what), time, count, close)

    def _close(self) -> None:
        scale = self._scale
        if scale is not None and scale.value is None:
            scale.settle()
            return
        for groups in self.groups.values():
            groups.close(self.last[1])
        if scale is not None and scale.unfit(self._sums):
            # What was counted by the old scale cannot be added to what will be by a new one.
            self._scale = ErrorScale()
            for groups in self.groups.values():
                groups.clear()
        self._sums[:] = 0

    def recount(
        self, codes: Mapping[str, np.ndarray], what: np.ndarray, positions: np.ndarray,
        amount: float,
    ) -> int:  # fmt: skip
        """Count rows once more or less where they were counted before; return how many do count.

        Args:
            codes, what: see `add`.
            positions: see `Rows.positions`; -1: the row was counted nowhere.
            amount: 1 or -1.
        """
        if self.scale is None:
            return 0
        of_rows = amounts(what, self.scale) if self._scale is not None else what
        which = (positions >= 0) & counted(of_rows)
        most = 0
        for subject, of_subject in codes.items():
            known = np.where(which, of_subject, -1)
            self.groups[subject].revise(known, of_rows, positions, amount)
            most = max(most, int((known >= 0).sum()))
        return most

    def judge(
        self, subject: str, tolerated: Sequence[tuple[float | None, float | None]]
    ) -> list[tuple[Judged, Judged]]:
        """Judge a subject's groups by each definition; see `PooledGroups.judge`.

        Args:
            subject: one of them.
            tolerated: difference and ratio of each definition, in the model's units.
        """
        assert self.scale
        limits = [(most and most / self.scale, ratio) for most, ratio in tolerated]
        return self.groups[subject].judge(self.way.definitions, limits)

    def evidence(self) -> dict[str, Any]:
        """Return what a finding tells about how rows were counted."""
        return {} if self._scale is None else {"capped_at": self._scale.value}

    # -- what is saved ------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        state: dict[str, Any] = {
            "window": self.window.state(),
            "groups": {subject: groups.state() for subject, groups in self.groups.items()},
            "last": None if math.isnan(self.last[0]) else list(self.last),
            "ident": self.ident,
        }
        if self._scale is not None:
            state |= {"scale": self._scale.state(), "sums": self._sums.tolist()}
        return state

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned.

        Raises:
            ValueError, KeyError: it is of other counts.
        """
        for subject, groups in self.groups.items():
            groups.restore(state["groups"][subject])
        self.window.restore(state["window"])
        first, last = state["last"] or (math.nan, math.nan)
        self.last, self.ident = (first, last), state["ident"]
        if self._scale is not None:
            self._scale.restore(state["scale"])
            self._sums = np.array(state["sums"], np.float64)
