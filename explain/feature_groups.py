"""Cuts inputs with many elements into few features: patches of images, blocks of long rows."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

_MOST_CHANNELS = 4  # a last axis this short behind two others holds colours, not a third dimension


def feature_groups(shapes: Mapping[str, tuple[int, ...]], at_most: int) -> dict[str, np.ndarray]:
    """Return the feature that each element belongs to, int64 [elements] by input, row-major.

    Features are numbered from 0 through all inputs. Every element is a feature of its own when
    there are at most `at_most` of them in all. Otherwise each input gets an equal share: with two
    or more axes the last two are cut into square patches (the first two of three when the last
    one has at most 4 elements, as colours have) that hold all channels, and an input with one
    axis is cut into blocks of neighbours.

    Args:
        shapes: shape of one row by input name, without the row axis.
        at_most: features in all, at least the number of inputs.
    """
    alone = sum(math.prod(shape) for shape in shapes.values()) <= at_most
    share = at_most // max(1, len(shapes))
    groups, first = {}, 0
    for name, shape in shapes.items():
        size = math.prod(shape)
        own = np.arange(size) if alone or size <= share else _cut(shape, share)
        groups[name] = first + own
        first += int(own.max(initial=-1)) + 1
    return groups


def _cut(shape: tuple[int, ...], at_most: int) -> np.ndarray:
    if len(shape) < 2:
        size = math.prod(shape)
        return np.arange(size) // math.ceil(size / at_most)
    colours_last = len(shape) == 3 and shape[2] <= _MOST_CHANNELS < shape[0]
    height, width = shape[:2] if colours_last else shape[-2:]
    side = 1
    while math.ceil(height / side) * math.ceil(width / side) > at_most:
        side += 1
    across = math.ceil(width / side)
    patch = (np.arange(height) // side)[:, None] * across + np.arange(width) // side
    whole = patch[:, :, None] if colours_last else patch
    return np.broadcast_to(whole, shape).ravel()
