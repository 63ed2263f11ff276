"""Which moments of the past are remembered: fewer of those that are older."""

from __future__ import annotations

from typing import Final

import numpy as np

OLDEST: Final = 256
"""Windows after which a moment is forgotten."""
PER_OCTAVE: Final = 4
"""Moments that are kept between an age and twice that age."""


def kept(number: int, latest: int) -> bool:
    """Whether a moment is remembered.

    Of ages from 4 to 8 windows every moment is, from 8 to 16 every second, and so on up to
    `OLDEST`: about 28 of them, whatever the stream's length.

    Args:
        number: how many windows had closed at that moment.
        latest: how many have closed until now.
    """
    age = latest - number
    step = 1 << max(0, (age // PER_OCTAVE).bit_length() - 1)
    return age <= OLDEST and number % step == 0


def quarters(windows: np.ndarray) -> np.ndarray:
    """Return for each lookback the place of the longest that is a quarter of it, or the first.

    Args:
        windows: how long the lookbacks are, rising, int64 [m].
    """
    places = np.searchsorted(windows, np.maximum(windows // 4, 1), side="right") - 1
    chosen: np.ndarray = np.maximum(places, 0)
    return chosen
