"""Guards with inputs that they pass and inputs that they stop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from guards.decisions import Action
from guards.guard import Guard
from guards.mahalanobis import MahalanobisGuard
from guards.schema import InputRule, SchemaGuard


@dataclass
class Case:
    guard: Guard
    inputs: Mapping[str, np.ndarray]
    features: np.ndarray | None
    stopped: list[int]

    def check(self, rows: Any = slice(None)) -> Any:
        features = None if self.features is None else self.features[rows]
        return self.guard.check({k: v[rows] for k, v in self.inputs.items()}, features)


def blobs(rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Three classes of features far from the origin, [rows, 8]."""
    labels = rng.integers(0, 3, rows)
    features = 5 * np.eye(8)[labels] + rng.normal(scale=0.3, size=(rows, 8)) + 2
    return features.astype(np.float32), labels


@pytest.fixture
def make_blobs() -> Any:
    return blobs


def _mahalanobis() -> Case:
    rng = np.random.default_rng(0)
    features, labels = blobs(rng, 600)
    guard = MahalanobisGuard(Action.REJECT).fit(features, labels)
    guard.calibrate(blobs(rng, 2000)[0], 0.001)
    rows, _ = blobs(rng, 6)
    rows[2] = -rows[2]
    rows[4, 1] = np.nan
    return Case(guard, {"x": np.zeros((6, 2))}, rows, [2, 4])


def _schema() -> Case:
    rule = InputRule("x", minimum=np.array([0.0, -np.inf]), maximum=9.0, feature_names=["a", "b"])
    x = np.full((6, 2), 3, dtype=np.float32)
    x[2, 0] = -1
    x[4, 1] = np.nan
    return Case(SchemaGuard([rule], Action.REJECT), {"x": x}, None, [2, 4])


@pytest.fixture(params=[_mahalanobis, _schema], ids=["mahalanobis", "schema"])
def case(request: pytest.FixtureRequest) -> Case:
    return request.param()
