"""What is learnt of a version's performance from labelled reference rows: method, bands, rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from monitors.estimation.binned_columns import BinnedColumns
from monitors.estimation.confidence_based import cbpe, fit_cbpe, fit_pape, pape
from monitors.estimation.conformal_band import BandedEstimator, BandedFigures, Fit, reaches
from monitors.estimation.direct_loss import dle, fit_dle
from monitors.estimation.predictions import LabelledPredictions, Predictions

Method = Literal["CBPE", "PAPE", "DLE"]
MOST_ROWS: Final = 10_000
"""Reference rows that are used, spread over all."""
FEWEST_ROWS: Final = 500
ALPHA: Final = 0.1
_CHUNKS: Final = 20
"""Chunks that the reference is cut into at least: two of each fold, one with its band apart."""
_SHIFTED_ROWS: Final = 40
"""Rows of a chunk below which nobody can tell how it is shifted."""
_WORSE: Final = 1.1
"""How many times the error of CBPE that of PAPE may be, where nothing is shifted, to be taken."""
_FITS: Final[Mapping[str, Fit]] = {"CBPE": fit_cbpe, "PAPE": fit_pape, "DLE": fit_dle}


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedEstimation:
    """How performance is estimated.

    Attributes:
        method: which estimate.
        why: it and no other, in a sentence.
        columns: bins of the inputs.
        reference: labelled rows, their features as numbers of bins.
        chunk_rows: rows of a chunk of the reference, and so of a window.
        errors, apart: see `BandedEstimator`.
    """

    method: Method
    why: str
    columns: BinnedColumns
    reference: LabelledPredictions
    chunk_rows: int
    errors: Mapping[str, np.ndarray]
    apart: Mapping[str, np.ndarray]

    def figures(self) -> BandedFigures:
        """Return what estimates figures of rows, with bands."""
        return BandedFigures(
            _FITS[self.method](self.reference),
            reaches(self.errors, ALPHA),
            self.chunk_rows,
            1 - ALPHA,
        )

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return everything as arrays without objects."""
        told = {
            "method": self.method,
            "why": self.why,
            "columns": self.columns.to_dict(),
            "chunk_rows": self.chunk_rows,
        }
        rows = self.reference
        given = {
            "labels": rows.labels,
            "scores": rows.predictions.scores,
            "predicted": rows.predictions.predicted,
            "time": rows.time,
            "codes": _codes(rows, self.columns),
            "told": np.frombuffer(json.dumps(told).encode(), np.uint8),
        }
        found = {name: array for name, array in given.items() if array is not None}
        found |= {f"error:{name}": values for name, values in self.errors.items()}
        return found | {f"apart:{name}": values for name, values in self.apart.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> FittedEstimation:
        """Return what `to_arrays` was called on.

        Raises:
            ValueError, KeyError, TypeError: it is something else.
        """
        told: dict[str, Any] = json.loads(arrays["told"].tobytes())
        columns = BinnedColumns.from_dict(told["columns"])
        if told["method"] not in _FITS:
            raise ValueError(f"there is no estimate {told['method']}")
        predictions = Predictions(
            features=columns.features(arrays["codes"]),
            scores=arrays.get("scores"),
            predicted=arrays.get("predicted"),
        )
        return cls(
            method=told["method"],
            why=str(told["why"]),
            columns=columns,
            reference=LabelledPredictions(
                predictions=predictions, labels=arrays["labels"], time=arrays.get("time")
            ),
            chunk_rows=int(told["chunk_rows"]),
            errors=_named(arrays, "error:"),
            apart=_named(arrays, "apart:"),
        )


def fit_estimation(
    columns: Mapping[str, np.ndarray],
    predictions: Predictions,
    labels: np.ndarray,
    time: np.ndarray | None,
    most_chunk_rows: int,
) -> FittedEstimation:
    """Learn how to estimate performance, and how far off estimates may be.

    Args:
        columns: of the inputs, [n] each; empty: nobody sees them.
        predictions: n rows that the model was not trained on, without features.
        labels: see `LabelledPredictions`.
        time: of each row; None: they are in no order.
        most_chunk_rows: most rows of a chunk.

    Raises:
        ValueError: there are too few rows, labels are all of one class, or scores all alike.
    """
    if predictions.n < FEWEST_ROWS:
        raise ValueError(
            f"{predictions.n} held-out rows have a label and an answer, and {FEWEST_ROWS} are "
            f"needed; profile with more labelled rows"
        )
    kept = np.unique(np.linspace(0, predictions.n - 1, min(predictions.n, MOST_ROWS)).astype(int))
    some = LabelledPredictions(predictions=predictions, labels=labels, time=time).take(kept)
    columns = {name: values[kept] for name, values in columns.items()}
    bins = BinnedColumns.fit(columns)
    rows = LabelledPredictions(
        predictions=Predictions(
            features=bins.features(bins.codes(columns, some.n)),
            scores=some.predictions.scores,
            predicted=some.predictions.predicted,
        ),
        labels=some.labels,
        time=some.time,
    )
    chunk_rows = max(min(some.n // _CHUNKS, most_chunk_rows), 1)
    method, why, banded = _best(rows, chunk_rows)
    return FittedEstimation(
        method=method,
        why=why,
        columns=bins,
        reference=rows,
        chunk_rows=chunk_rows,
        errors=banded.errors,
        apart=banded.apart,
    )


def _best(rows: LabelledPredictions, chunk_rows: int) -> tuple[Method, str, BandedEstimator]:
    if rows.predictions.scores is None:
        why = "a model learns from the reference how wrong answers to rows like these are"
        return "DLE", why, dle(rows, chunk_rows=chunk_rows, alpha=ALPHA)
    plain = cbpe(rows, chunk_rows=chunk_rows, alpha=ALPHA)
    if not rows.predictions.features:
        why = "calibrated scores alone: inputs are not watched, or have more than 64 columns"
        return "CBPE", why, plain
    if chunk_rows < _SHIFTED_ROWS:
        why = f"calibrated scores alone: windows of {chunk_rows} rows do not show a shift of inputs"
        return "CBPE", why, plain
    weighted = pape(rows, chunk_rows=chunk_rows, alpha=ALPHA)
    errors = [float(np.abs(each.errors["accuracy"]).mean()) for each in (plain, weighted)]
    compared = f"mean error on the reference {errors[1]:.3g}, with CBPE {errors[0]:.3g}"
    if errors[1] > _WORSE * errors[0]:
        return "CBPE", f"weighing the reference made estimates worse ({compared})", plain
    why = f"the reference is weighed by how frequent the like of these rows is ({compared})"
    return "PAPE", why, weighted


def _codes(rows: LabelledPredictions, columns: BinnedColumns) -> np.ndarray:
    found = np.empty((rows.n, len(columns.columns)), np.uint8)
    for at, name in enumerate(columns.columns):
        found[:, at] = rows.predictions.features[name]
    return found


def _named(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
