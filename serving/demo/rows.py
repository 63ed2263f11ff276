"""The real data of the demo, split into rows to train with and rows to try with."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits

from serving.demo.assemble import Splits, split
from serving.models.profile.dataset import Dataset


def digits() -> Splits:
    """Return scikit-learn's images of digits: input `image` float32 [n, 1, 8, 8]."""
    data = load_digits()
    images = data.images[:, None].astype(np.float32)
    names = np.array([str(label) for label in data.target], dtype=object)
    return split(Dataset({"image": images}, names), heldout=0.2, test=0.2, seed=0)


def cancer() -> Splits:
    """Return scikit-learn's breast cancer measurements: input `x` float32 [n, 30]."""
    data = load_breast_cancer()
    names = data.target_names.astype(object)[data.target]
    rows = Dataset({"x": data.data.astype(np.float32)}, names)
    return split(rows, heldout=0.2, test=0.3, seed=0)
