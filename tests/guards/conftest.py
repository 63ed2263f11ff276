"""Features that guards learn from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


def blobs(rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Three classes of features far from the origin, [rows, 8]."""
    labels = rng.integers(0, 3, rows)
    features = 5 * np.eye(8)[labels] + rng.normal(scale=0.3, size=(rows, 8)) + 2
    return features.astype(np.float32), labels


@pytest.fixture
def make_blobs() -> Any:
    return blobs
