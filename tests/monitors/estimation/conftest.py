"""Streams of answers with natural variation, covariate shift and concept shift."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import expit

from monitors.estimation.predictions import LabelledPredictions, Predictions

Stream = Callable[..., LabelledPredictions]


@pytest.fixture
def stream() -> Stream:
    def make(
        seed: int,
        chunks: int,
        rows: int,
        shift: float = 0.0,
        wander: float = 0.0,
        flipped: float = 0.0,
    ) -> LabelledPredictions:
        """Rows whose label is noisier where x0 is large, which scores do not know.

        `wander`: deviation of x0's mean and of the concept's slope from chunk to chunk (AR(1),
        φ = .5). `flipped`: share of labels that are turned around.
        """
        rng = np.random.default_rng(seed)
        steps = rng.normal(size=(chunks, 2)) * np.sqrt(0.75)
        levels = np.empty((chunks, 2))
        level = rng.normal(size=2)
        for at in range(chunks):
            level = 0.5 * level + steps[at]
            levels[at] = level
        centre, slope = np.repeat(wander * levels, rows, axis=0).T
        n = chunks * rows
        x = rng.normal(size=(n, 3))
        x[:, 0] += shift + centre
        odds = (2 + slope) * x[:, 1] * 2 * expit(-2 * x[:, 0])
        labels = (rng.random(n) < expit(odds)).astype(np.int64)
        labels = np.where(rng.random(n) < flipped, 1 - labels, labels)
        score = expit(2 * x[:, 1])
        return LabelledPredictions(
            predictions=Predictions(
                features={f"x{at}": x[:, at] for at in range(3)},
                scores=np.column_stack((1 - score, score)),
            ),
            labels=labels,
            time=np.arange(n, dtype=np.float64),
        )

    return make


@pytest.fixture
def regression() -> Stream:
    def make(seed: int, chunks: int, rows: int, shift: float = 0.0) -> LabelledPredictions:
        """Answers whose error grows with x0."""
        rng = np.random.default_rng(seed)
        n = chunks * rows
        x = rng.normal(size=(n, 2))
        x[:, 0] += shift
        answered = x[:, 1]
        labels = answered + rng.normal(size=n) * np.exp(0.5 * x[:, 0])
        region = np.where(x[:, 1] > 0, "north", "south")
        return LabelledPredictions(
            predictions=Predictions(
                features={"x0": x[:, 0], "x1": x[:, 1], "region": region}, predicted=answered
            ),
            labels=labels,
        )

    return make
