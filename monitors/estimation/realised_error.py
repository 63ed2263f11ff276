"""How far estimates were from what labels say, and whether they are trusted still."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from monitors.estimation.conformal_band import Estimated, reaches
from monitors.estimation.figures import realised_class_figures, realised_number_figures
from monitors.estimation.fitted import ALPHA, FittedEstimation
from monitors.estimation.past_estimates import PastEstimates
from monitors.estimation.predictions import LabelledPredictions, Predictions
from monitors.estimation.row_buffer import RowBuffer
from monitors.estimation.trust import Trust, Verdict
from monitors.rows import Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Realised:
    """A chunk of labelled rows.

    Attributes:
        ident: tells it from all others.
        rows: of it.
        span: when their labels came, first and last, seconds since the epoch.
        estimates: mean estimate of the windows that its rows were in, by metric.
        truth: what labels say, by metric.
    """

    ident: str
    rows: int
    span: tuple[float, float]
    estimates: Mapping[str, Estimated]
    truth: Mapping[str, float]


class RealisedErrors:
    """Compares estimates with labels, chunk by chunk of as many labelled rows as a window has.

    A chunk's realised value is of its rows, and the estimate of all rows around them. Its band is
    therefore that of `BandedEstimator.apart`: of estimates of some rows and labels of others. Rows
    that were answered before the first window are left out.

    Args:
        fitted: how estimates are made.
        metrics: that are compared.
        past: the estimates of windows.
    """

    def __init__(
        self, fitted: FittedEstimation, metrics: Sequence[str], past: PastEstimates
    ) -> None:
        self._metrics = list(metrics)
        self._size = fitted.chunk_rows
        self._classes = fitted.reference.predictions.scores is not None
        self._past = past
        self.reach = reaches(fitted.apart, ALPHA)
        self._trust = Trust()
        self._rows = RowBuffer()
        self._number = 0

    @property
    def filled(self) -> tuple[int, int]:
        """Labelled rows in the current chunk, and how many complete it."""
        return self._rows.rows, self._size

    def verdict(self, metric: str) -> Verdict:
        """Return whether the estimate of a metric is trusted."""
        return self._trust.verdict(metric)

    def add(self, rows: Rows) -> list[Realised]:
        """Take in labelled rows; returns the chunks that they have filled."""
        given, n = self._known(rows)
        found, start = [], 0
        while start < n:
            stop = min(start + self._size - self._rows.rows, n)
            part = slice(start, stop)
            self._rows.add({name: array[part] for name, array in given.items()}, stop - start)
            if self._rows.rows == self._size:
                found.append(self._compared(self._rows.take()))
            start = stop
        return found

    def _known(self, rows: Rows) -> tuple[dict[str, np.ndarray], int]:
        assert rows.labels is not None
        assert rows.predicted is not None
        answered = np.asarray(rows.answered, np.float64)
        if len(answered) != rows.n:
            answered = np.full(rows.n, rows.timestamp)
        estimates = self._past.at(answered)
        known = ~np.isnan(estimates).all(axis=1) & np.isfinite(rows.predicted.astype(np.float64))
        given = {
            "predicted": rows.predicted,
            "labels": rows.labels,
            "estimates": estimates,
            "came": np.full(rows.n, rows.timestamp),
        }
        if self._classes:
            if rows.scores is None:
                return {}, 0
            classes = rows.scores.shape[1]
            known &= np.isfinite(rows.scores).all(axis=1) & (rows.predicted >= 0)
            known &= (rows.labels >= 0) & (rows.labels < classes)
            given["scores"] = rows.scores.astype(np.float64)
        return {name: array[known] for name, array in given.items()}, int(known.sum())

    def _compared(self, rows: Mapping[str, np.ndarray]) -> Realised:
        predictions = Predictions(
            features={}, scores=rows.get("scores"), predicted=rows["predicted"]
        )
        labelled = LabelledPredictions(predictions=predictions, labels=rows["labels"])
        realise = realised_class_figures if self._classes else realised_number_figures
        truth = {name: value for name, value in realise(labelled).items() if name in self._metrics}
        means = dict(zip(self._metrics, rows["estimates"].mean(axis=0).tolist(), strict=True))
        estimates = {
            name: Estimated(
                metric=name,
                value=means[name],
                low=means[name] - self.reach[name],
                high=means[name] + self.reach[name],
                rows=self._size,
                coverage=1 - ALPHA,
            )
            for name in truth
        }
        came = rows["came"]
        span = (float(came.min()), float(came.max()))
        ident = f"labels/{self._number}@{span[0]:.3f}"
        self._number += 1
        self._trust.add(ident, estimates, truth)
        return Realised(
            ident=ident, rows=self._size, span=span, estimates=estimates, truth=truth
        )  # fmt: skip

    def state(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {"rows": self._rows.state(), "trust": self._trust.state(), "number": self._number}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned.

        Raises:
            ValueError, KeyError, TypeError: it is something else.
        """
        rows, trust = RowBuffer(), Trust()
        rows.restore(state["rows"])
        trust.restore(state["trust"])
        self._number = int(state["number"])
        self._rows, self._trust = rows, trust
