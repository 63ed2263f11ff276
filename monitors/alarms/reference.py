"""What is normal, before a stream has a history: the moments of a reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from monitors.alarms.cell import Cell


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceMoments:
    """Mean and variance of k statistics over the rows of a reference.

    Attributes:
        mean: [k] of a row.
        variance: [k] of a row, not negative.
        n: [k] rows on which the statistic is defined.
        cells: the reference cut in its own time order, where it has one. What its cells vary more
            than independent rows would is then known from the first day.

    Raises:
        ValueError: the arrays differ in shape, hold what is no finite number, or a variance is
            negative.
    """

    mean: npt.NDArray[np.float64]
    variance: npt.NDArray[np.float64]
    n: npt.NDArray[np.float64]
    cells: tuple[Cell, ...] = ()

    def __post_init__(self) -> None:
        shape = self.mean.shape
        if len(shape) != 1 or self.variance.shape != shape or self.n.shape != shape:
            raise ValueError(
                "mean, variance and n of a reference must have one entry per statistic"
            )
        if not np.isfinite(self.mean.sum() + self.variance.sum() + self.n.sum()):
            raise ValueError("mean, variance and n of a reference must be finite")
        if np.any(self.variance < 0) or np.any(self.n < 0):
            raise ValueError("variance and n of a reference must not be negative")
        if any(cell.streams != self.streams for cell in self.cells):
            raise ValueError("cells of a reference must have one entry per statistic")

    @property
    def streams(self) -> int:
        """How many statistics it holds, k."""
        return len(self.mean)

    @classmethod
    def of_cell(cls, cell: Cell, cells: tuple[Cell, ...] = ()) -> ReferenceMoments:
        """Return the moments of the rows of one cell; 0 for a statistic that no row defines."""
        n = np.maximum(cell.counts, 1)
        mean = cell.sums / n
        variance = np.maximum(cell.squares / n - mean**2, 0)
        return cls(mean=mean, variance=variance, n=cell.counts.astype(float), cells=cells)

    @classmethod
    def of_cells(cls, cells: tuple[Cell, ...]) -> ReferenceMoments:
        """Return the moments of all rows of cells in time order, with what their order tells.

        Raises:
            ValueError: there is no cell.
        """
        if not cells:
            raise ValueError("a reference needs at least one cell")
        whole = cells[0]
        for cell in cells[1:]:
            whole = whole.merged(cell)
        return cls.of_cell(whole, cells)

    def state(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "mean": self.mean.tolist(),
            "variance": self.variance.tolist(),
            "n": self.n.tolist(),
            "cells": [cell.state() for cell in self.cells],
        }

    @classmethod
    def from_state(cls, raw: dict[str, Any]) -> ReferenceMoments:
        """Return the reference that `state` was taken of.

        Raises:
            ValueError, KeyError, TypeError: it is no such state.
        """
        return cls(
            mean=np.array(raw["mean"], float),
            variance=np.array(raw["variance"], float),
            n=np.array(raw["n"], float),
            cells=tuple(Cell.from_state(cell) for cell in raw.get("cells", ())),
        )
