"""What of a model's answers is watched: predicted classes, scores, numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

MOST_SCORES: Final = 20
"""Scores of a row that are watched one by one; of more, the class and the largest score."""


def output_columns(
    outputs: Mapping[str, np.ndarray], classes: Mapping[str, Sequence[str]]
) -> dict[str, np.ndarray]:
    """Return columns [n] by name of the outputs.

    A number per row gives a column of the output's name. Several give one per number, `name[i]`;
    of two scores the second alone, which says the same as the first. An output with classes gives
    `name.class` as well, the class with the highest score, missing where a score is no number.

    Args:
        outputs: arrays [n, ...] by name.
        classes: names of the classes, by output.
    """
    columns: dict[str, np.ndarray] = {}
    for name, array in outputs.items():
        rows = len(array)
        flat = array.reshape(rows, int(np.prod(array.shape[1:])))
        wide = flat.shape[1]
        if wide == 1:
            columns[name] = flat[:, 0]
        elif wide and array.dtype.kind in "biuf":
            columns.update(_scores(name, flat))
            if name in classes:
                columns[f"{name}.class"] = _classes(flat, classes[name])
    return columns


def _scores(name: str, flat: np.ndarray) -> dict[str, np.ndarray]:
    wide = flat.shape[1]
    if wide == 2:
        return {f"{name}[1]": flat[:, 1]}
    if wide > MOST_SCORES:
        return {f"{name}.max": flat.max(axis=1)}
    return {f"{name}[{at}]": flat[:, at] for at in range(wide)}


def _classes(flat: np.ndarray, names: Sequence[str]) -> np.ndarray:
    labels = np.empty(max(len(names), flat.shape[1]) + 1, dtype=object)
    labels[:-1] = [names[at] if at < len(names) else str(at) for at in range(len(labels) - 1)]
    best = flat.argmax(axis=1)
    best[~np.isfinite(flat).all(axis=1)] = -1  # the last label is None
    found: np.ndarray = labels[best]
    return found
