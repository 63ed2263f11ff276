"""CBPE and PAPE: the performance of a classifier from its own calibrated scores."""

from __future__ import annotations

from typing import Final

import numpy as np

from monitors.estimation.calibration import (
    calibrated,
    check_can_be_calibrated,
    class_calibrators,
)
from monitors.estimation.conformal_band import BandedEstimator, Figures
from monitors.estimation.figures import expected_figures, realised_class_figures
from monitors.estimation.predictions import LabelledPredictions, Predictions, class_scores
from monitors.reference.feature_matrix import FeatureMatrix

_SEED: Final = 0


def fit_cbpe(reference: LabelledPredictions) -> Figures:
    """Learn confidence-based performance estimation: calibrated scores, expected confusion matrix.

    Right as long as scores mean what they meant in the reference: neither the concept nor, among
    rows of one score, the mixture of rows may change.

    Source: Białek et al. (2024), arXiv:2401.08348, section 3.

    Args:
        reference: labelled rows with scores.

    Returns:
        Takes rows; gives accuracy, balanced accuracy, precision, recall, F1, AUROC, log loss and
        Brier score by name.

    Raises:
        ValueError: there are no scores, all labels are of one class, or all scores alike.
    """
    scores = class_scores(reference.predictions)
    check_can_be_calibrated(scores, reference.labels)
    rng = np.random.default_rng(_SEED)
    found = class_calibrators(scores, reference.labels, np.ones(reference.n), rng)

    def figures(rows: Predictions) -> dict[str, float]:
        return expected_figures(rows, calibrated(found, _same_classes(rows, scores)))

    return figures


def fit_pape(reference: LabelledPredictions) -> Figures:
    """Learn probabilistic adaptive performance estimation: CBPE, calibrated for the rows at hand.

    Rows of the reference are weighted by how frequent their like are among the rows at hand, so
    that calibration holds under covariate shift. A concept shift it does not see either.

    Source: Białek et al. (2024), arXiv:2401.08348, section 4.

    Args, Returns, Raises: as `fit_cbpe`.
    """
    scores = class_scores(reference.predictions)
    check_can_be_calibrated(scores, reference.labels)
    # Here, because it brings scikit-learn with it, which CBPE does without.
    from monitors.estimation.density_ratio import density_ratio

    matrix = FeatureMatrix(reference.predictions.features)
    known = _design(matrix, reference.predictions)
    categorical = np.append(matrix.categorical, np.zeros(scores.shape[1] - 1, np.bool_))

    def figures(rows: Predictions) -> dict[str, float]:
        given = _same_classes(rows, scores)
        weights = density_ratio(known, _design(matrix, rows), categorical, _SEED)
        rng = np.random.default_rng(_SEED)
        found = class_calibrators(scores, reference.labels, weights, rng)
        return expected_figures(rows, calibrated(found, given))

    return figures


def cbpe(
    reference: LabelledPredictions, *, chunk_rows: int, alpha: float = 0.1, seed: int = 0
) -> BandedEstimator:
    """Return CBPE with conformal bands; see `fit_cbpe` and `BandedEstimator`."""
    return BandedEstimator(
        reference, fit_cbpe, realised_class_figures, chunk_rows=chunk_rows, alpha=alpha, seed=seed
    )


def pape(
    reference: LabelledPredictions, *, chunk_rows: int, alpha: float = 0.1, seed: int = 0
) -> BandedEstimator:
    """Return PAPE with conformal bands; see `fit_pape` and `BandedEstimator`."""
    return BandedEstimator(
        reference, fit_pape, realised_class_figures, chunk_rows=chunk_rows, alpha=alpha, seed=seed
    )


def _design(matrix: FeatureMatrix, rows: Predictions) -> np.ndarray:
    """Return features with the scores, which trees would have to learn as a function of them."""
    scores = class_scores(rows)[:, 1:]
    return np.column_stack((matrix.of(rows.features), scores)) if matrix.names else scores


def _same_classes(rows: Predictions, reference: np.ndarray) -> np.ndarray:
    given = class_scores(rows)
    if given.shape[1] != reference.shape[1]:
        raise ValueError(
            f"scores have {given.shape[1]} classes; those of the reference have "
            f"{reference.shape[1]}"
        )
    return given
