"""From the scores of a classifier to the class it predicts."""

from __future__ import annotations

import numpy as np


def predicted_class(output: np.ndarray) -> np.ndarray:
    """Return the class index of each row, int64 [n]; -1 where a score is not a number.

    Args:
        output: scores [n, classes] with at least two classes, or class indices, integer [n].

    Raises:
        ValueError: any other shape or type.
    """
    if output.ndim == 1 and output.dtype.kind in "biu":
        return output.astype(np.int64)
    if output.ndim != 2 or output.shape[1] < 2 or output.dtype.kind not in "iuf":
        raise ValueError(
            f"an output of shape {list(output.shape)} and type {output.dtype} names no class: "
            f"need scores [n, classes] or integer class indices [n]"
        )
    classes: np.ndarray = output.argmax(axis=1).astype(np.int64)
    if output.dtype.kind == "f":
        classes[np.isnan(output).any(axis=1)] = -1
    return classes
