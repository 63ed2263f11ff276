"""Which output of each row is explained."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from explain.attribution import CannotExplain


def explained_target(outputs: np.ndarray, target: Sequence[int] | None) -> np.ndarray:
    """Return the class of each row, int64 [n]; without a wish the one with the largest output.

    Args:
        outputs: the model's outputs, [n, classes].
        target: class index per row, or None.

    Raises:
        CannotExplain: the target is not one class index per row.
    """
    if target is None:
        predicted: np.ndarray = outputs.argmax(axis=1).astype(np.int64)
        return predicted
    chosen = np.asarray(target)
    if chosen.shape != (len(outputs),) or chosen.dtype.kind not in "iu":
        raise CannotExplain(f"target must be one class index for each of the {len(outputs)} rows")
    classes = outputs.shape[1]
    if ((chosen < 0) | (chosen >= classes)).any():
        raise CannotExplain(f"target must be between 0 and {classes - 1}")
    return chosen.astype(np.int64)
