"""Which rows are in the slices of a model, told to monitors as groups that nobody named."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from monitors.sliced import INSIDE, OUTSIDE, PREFIX
from serving.config import ModelConfig
from serving.config.slices import slice_conditions


class SliceMembership:
    """The slices of one model; labelled rows are in those that their predictions were in.

    Args:
        config: of the model.
    """

    def __init__(self, config: ModelConfig) -> None:
        self._conditions = slice_conditions(config.monitors.slices, config.inputs)

    def groups(self, columns: Mapping[str, np.ndarray], n: int) -> dict[str, np.ndarray]:
        """Return for each slice, by its name among groups, where each of n rows is.

        None where that is not known: a value is missing that it would take, or a column is.

        Args:
            columns: of the rows.
            n: how many there are.
        """
        found: dict[str, np.ndarray] = {}
        for each in self._conditions:
            inside = np.full(n, None, np.object_)
            if each.columns <= columns.keys():
                truth = each.of(columns)
                inside[truth.known] = OUTSIDE
                inside[truth.true] = INSIDE
            found[PREFIX + each.text] = inside
        return found
