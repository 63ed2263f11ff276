"""DLE: the error of a regression from a model of how wrong it was on rows like these."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from threadpoolctl import threadpool_limits

from monitors.estimation.conformal_band import BandedEstimator, Figures
from monitors.estimation.figures import answers, realised_number_figures
from monitors.estimation.predictions import LabelledPredictions, Predictions
from monitors.reference.feature_matrix import FeatureMatrix

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingRegressor

_SEED: Final = 0


def fit_dle(reference: LabelledPredictions) -> Figures:
    """Learn direct loss estimation: a model of the absolute, and of the squared, error.

    Source: NannyML, "Direct loss estimation" (its documentation, "How it works").

    Args:
        reference: labelled rows with the numbers that were answered.

    Returns:
        Takes rows; gives MAE and RMSE by name, in the unit of the labels.

    Raises:
        ValueError: there are no answers.
    """
    matrix = FeatureMatrix(reference.predictions.features)
    error = np.abs(answers(reference.predictions) - reference.labels)
    categorical = np.append(matrix.categorical, False)
    design = _design(matrix, reference.predictions)
    absolute = _fit(design, error, categorical)
    squared = _fit(design, error**2, categorical)

    def figures(rows: Predictions) -> dict[str, float]:
        given = _design(matrix, rows)
        with threadpool_limits(1):
            means = [np.maximum(model.predict(given), 0).mean() for model in (absolute, squared)]
        return {"mae": float(means[0]), "rmse": float(np.sqrt(means[1]))}

    return figures


def dle(
    reference: LabelledPredictions, *, chunk_rows: int, alpha: float = 0.1, seed: int = 0
) -> BandedEstimator:
    """Return DLE with conformal bands; see `fit_dle` and `BandedEstimator`."""
    return BandedEstimator(
        reference, fit_dle, realised_number_figures, chunk_rows=chunk_rows, alpha=alpha, seed=seed
    )


def _design(matrix: FeatureMatrix, rows: Predictions) -> np.ndarray:
    answered = answers(rows)[:, None]
    return np.column_stack((matrix.of(rows.features), answered)) if matrix.names else answered


def _fit(
    design: np.ndarray, target: np.ndarray, categorical: np.ndarray
) -> HistGradientBoostingRegressor:
    # Here, because classifiers' estimates do without scikit-learn: 1.3 s of import.
    from sklearn.ensemble import HistGradientBoostingRegressor

    model = HistGradientBoostingRegressor(
        max_iter=60,
        max_bins=64,
        max_leaf_nodes=8,
        categorical_features=categorical if categorical.any() else None,
        random_state=_SEED,
    )
    with threadpool_limits(1):
        return model.fit(design, target)
