"""A second raced model: means of an image's channels, 600 kB in and twelve bytes out.

Next to no computing on purpose: the race is about moving large tensors.
"""

from __future__ import annotations

import numpy as np

from loadtest import mlp

MODEL = "image"
INPUT, OUTPUT = "pixels", "means"
SHAPE = (3, 224, 224)
INFER_PATH = f"/v2/models/{MODEL}/infer"


def rows(count: int, seed: int = 1) -> np.ndarray:
    """Return `[count, 3, 224, 224]` float32 pixels between 0 and 1."""
    return np.random.default_rng(seed).random((count, *SHAPE), dtype=np.float32)


def expected(x: np.ndarray) -> np.ndarray:
    """Return the right means `[rows, 3]`, computed in float64."""
    return np.asarray(x.astype(np.float64).mean(axis=(2, 3)))


def binary_body(x: np.ndarray) -> mlp.Body:
    """Return an OIP request in the binary tensor extension that asks for a binary answer."""
    return mlp.binary_body(x, INPUT)
