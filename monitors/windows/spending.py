"""How false alarms that are allowed in a quarter are shared over looks at lookbacks."""

from __future__ import annotations

from typing import Final

import numpy as np

from monitors.windows.ageing import OLDEST, PER_OCTAVE

QUARTER_S: Final = 90 * 86400.0
_OCTAVES: Final = (OLDEST // PER_OCTAVE).bit_length()
_LOOKS: Final = 4
"""Looks at a lookback, as it moves on, that are as good as independent, per length of it."""
_LEVELS: Final = (1e-12, 0.01)
"""Bounds of what a single look may spend."""


def levels(seconds: np.ndarray, budget: float) -> np.ndarray:
    """Return what a look at each lookback may be wrong with, [n].

    A long lookback moves slowly, so that there are fewer looks at it in a quarter and each may
    spend more.

    Args:
        seconds: how long the lookbacks are, [n].
        budget: false alarms that are expected per quarter from all of them.
    """
    share = budget * np.maximum(seconds, 1e-3) / QUARTER_S / (_LOOKS * _OCTAVES * PER_OCTAVE)
    alpha: np.ndarray = np.clip(share, *_LEVELS)
    return alpha
