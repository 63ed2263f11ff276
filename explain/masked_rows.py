"""Rows of which some features are replaced by a baseline's: numbers and texts alike."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from explain.attribution import CannotExplain
from explain.feature_groups import feature_groups


class MaskedRows:
    """n rows of all inputs, their baselines, and the features that their elements belong to.

    Args:
        inputs: by input name, [n, ...]; object arrays hold texts.
        baselines: by input name, same shape and dtype as the input.
        at_most: features in all; see `feature_groups`.

    Attributes:
        features: how many there are.
    """

    def __init__(
        self, inputs: Mapping[str, np.ndarray], baselines: Mapping[str, np.ndarray], at_most: int
    ) -> None:
        self.inputs = inputs
        self.baselines = baselines
        shapes = {name: array.shape[1:] for name, array in inputs.items()}
        self._groups = feature_groups(shapes, max(at_most, len(shapes)))
        self.features = max(int(group.max(initial=-1)) for group in self._groups.values()) + 1
        # NaN differs from everything, so a missing value is always tried.
        self._apart = {
            name: (array != baselines[name]).reshape(len(array), -1).astype(bool)
            for name, array in inputs.items()
        }

    def players(self) -> list[np.ndarray]:
        """Return the features of each row that differ from the baseline in some element."""
        rows = len(next(iter(self.inputs.values())))
        found = np.zeros((rows, self.features), dtype=bool)
        for name, group in self._groups.items():
            for row, differing in enumerate(self._apart[name]):
                found[row, group[differing]] = True
        return [np.flatnonzero(row) for row in found]

    def mixed(self, row: np.ndarray, present: np.ndarray) -> dict[str, np.ndarray]:
        """Return rows with the inputs' values where a feature is present, else the baselines'.

        Args:
            row: which of the rows, int [b]; may repeat.
            present: bool [b, features].
        """
        mixed = {}
        for name, group in self._groups.items():
            array = self.inputs[name]
            mask = present[:, group].reshape(len(row), *array.shape[1:])
            mixed[name] = np.where(mask, array[row], self.baselines[name][row])
        return mixed

    def not_finite(self, row: int) -> str | None:
        """Return the name of an input that holds NaN or infinity in this row; None if none does."""
        for name, array in self.inputs.items():
            if array.dtype.kind == "f" and not np.isfinite(array[row]).all():
                return name
        return None

    def spread(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """Return each feature's value shared evenly by its elements that differ from the baseline.

        Args:
            values: float64 [n, features]; those of features that do not differ are not used.

        Returns:
            float64 arrays by input name, shaped as the inputs.
        """
        spread = {}
        for name, group in self._groups.items():
            shared = np.zeros(self._apart[name].shape)
            for row, differing in enumerate(self._apart[name]):
                mine = group[differing]
                sharing = np.bincount(mine, minlength=self.features)
                shared[row, differing] = values[row, mine] / sharing[mine]
            spread[name] = shared.reshape(self.inputs[name].shape)
        return spread


def fit_baseline(name: str, value: np.ndarray | float | None, array: np.ndarray) -> np.ndarray:
    """Return a baseline of the shape and dtype of the input `name`.

    Args:
        name: told in errors.
        value: is broadcast; numbers are rounded for inputs of integers and booleans. None: zeros,
            or the empty text.
        array: the input.

    Raises:
        CannotExplain: the shape does not fit.
    """
    if value is None:
        value = np.array(b"" if array.dtype == object else 0, dtype=array.dtype)
    given = np.asarray(value)
    try:
        whole = np.broadcast_to(given, array.shape)
    except ValueError:
        raise CannotExplain(
            f"baseline '{name}' of shape {list(given.shape)} does not fit "
            f"the input's {list(array.shape)}"
        ) from None
    if array.dtype.kind in "biu" and given.dtype.kind == "f":
        whole = np.rint(whole)
    return whole.astype(array.dtype)
