"""What the convolutional network is asked, for processes with and without torch."""

from __future__ import annotations

import numpy as np

SHAPE = (3, 64, 64)
BATCH = 8


def rows(count: int, seed: int = 1) -> np.ndarray:
    """Return `[count, 3, 64, 64]` float32 images of noise."""
    return np.random.default_rng(seed).normal(size=(count, *SHAPE)).astype(np.float32)
