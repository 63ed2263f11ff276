"""Why a loss has changed: other rows, another truth of the same rows, or rows never seen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from monitors.reference.feature_matrix import FeatureMatrix
from monitors.slices.carriers import carriers

Cause = Literal["covariate shift", "concept shift", "unseen region"]
CAUSES: Final[tuple[Cause, ...]] = ("covariate shift", "concept shift", "unseen region")
FEWEST: Final = 200
"""Rows that are needed on either side."""
_UNSEEN: Final = 0.95
"""Probability of being from now, of as many rows on both sides, above which a row is unseen."""
_FOLDS: Final = 3
_SIGNIFICANT: Final = 2.0
"""Standard errors beyond which a change, or a part of it, is one."""


class Part(NamedTuple):
    """A part of a change of the mean loss.

    Attributes:
        value: in the unit of the loss.
        error: standard error.
    """

    value: float
    error: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """A change of the mean loss from the reference until now.

    Attributes:
        change: mean loss now less that of the reference.
        parts: of the change by cause; their sum is the change.
        unseen: share of the rows now that have no like in the reference.
        cause: the largest part in the direction of the change; None: the change is within two
            standard errors, and so is each part.
        features: names of those that carry the cause, with their weight in [0, 1], the heaviest
            first; empty without a cause.
    """

    change: Part
    parts: Mapping[Cause, Part]
    unseen: float
    cause: Cause | None
    features: list[tuple[str, float]]


def explain_change(
    reference: Mapping[str, np.ndarray],
    reference_losses: np.ndarray,
    now: Mapping[str, np.ndarray],
    losses: np.ndarray,
    *,
    seed: int = 0,
) -> Explanation:
    """Split a change of the mean loss into three parts.

    A classifier tells rows of now from those of the reference, on rows that it has not learnt from.
    Rows that it is nearly sure of have no like in the reference: what they add to the loss is that
    of the unseen region. On the rest, the loss that the reference's rows would have if they were
    distributed as now are (a model of the loss, corrected by weighted residuals) parts a covariate
    shift from a concept shift.

    Source: after Cai, Namkoong and Yadlowsky (2023), arXiv:2303.02011 (DISDE), which compares both
    sides on a shared distribution in place of that of the rows now; the estimator is the doubly
    robust one of Bang and Robins (2005), Biometrics 61(4).

    Args:
        reference, now: features by name, [n] and [m].
        reference_losses, losses: of the rows, in any unit, [n] and [m].
        seed: of folds and trees.

    Raises:
        ValueError: columns differ by name or kind, rows are too few, or a loss is not finite.
    """
    _check("reference_losses", reference_losses, reference)
    _check("losses", losses, now)
    matrix = FeatureMatrix(reference)
    p, q = matrix.of(reference), matrix.of(now)
    categorical = matrix.categorical
    odds_p, odds_q = _odds(p, q, categorical, seed)
    limit = _UNSEEN / (1 - _UNSEEN)
    seen_p, seen_q = odds_p <= limit, odds_q <= limit
    parts = _parts(
        _Side(p, reference_losses.astype(np.float64), seen_p, odds_p),
        _Side(q, losses.astype(np.float64), seen_q, odds_q),
        categorical,
        seed,
    )
    change = _change(reference_losses, losses)
    cause = _cause(change, parts)
    ranked = carriers(cause, reference, reference_losses, now, losses, seen_q) if cause else []
    return Explanation(change, parts, float(1 - seen_q.mean()), cause, ranked)


class _Side(NamedTuple):
    """Rows of one side: features, losses, which have their like in the reference, odds of now."""

    x: np.ndarray
    losses: np.ndarray
    seen: np.ndarray
    odds: np.ndarray


def _parts(p: _Side, q: _Side, categorical: np.ndarray, seed: int) -> dict[Cause, Part]:
    usual, share = p.losses.mean(), q.seen.mean()
    strange = q.losses[~q.seen]
    unseen = Part(
        float((1 - share) * (strange.mean() - usual)) if len(strange) else 0.0,
        float((1 - share) * strange.std() / math.sqrt(len(strange))) if len(strange) else 0.0,
    )
    if not q.seen.any() or not p.seen.any():
        zero = Part(0.0, 0.0)
        return dict(zip(CAUSES, (zero, zero, unseen), strict=True))
    model_p, model_q = _expected(p, q.x[q.seen], categorical, seed)
    weights = np.where(p.seen, p.odds, 0.0)
    weights /= weights.mean()
    residuals = weights * (p.losses - model_p)
    moved = float(model_q.mean() + residuals.mean())
    error = math.sqrt(residuals.var() / len(p.losses) + model_q.var() / len(model_q))
    own = q.losses[q.seen]
    difference = own - model_q
    return {
        "covariate shift": Part(
            float(share * (moved - usual)),
            float(share * math.sqrt(error**2 + p.losses.var() / len(p.losses))),
        ),
        "concept shift": Part(
            float(share * (own.mean() - moved)),
            float(share * math.sqrt(difference.var() / len(own) + residuals.var() / len(p.losses))),
        ),
        "unseen region": unseen,
    }


def _cause(change: Part, parts: Mapping[Cause, Part]) -> Cause | None:
    sign = math.copysign(1, change.value)
    shown = [c for c in CAUSES if sign * parts[c].value > _SIGNIFICANT * parts[c].error]
    if abs(change.value) <= _SIGNIFICANT * change.error or not shown:
        return None
    return max(shown, key=lambda each: sign * parts[each].value)


def _change(before: np.ndarray, now: np.ndarray) -> Part:
    spread = before.var(ddof=1) / len(before) + now.var(ddof=1) / len(now)
    return Part(float(now.mean() - before.mean()), math.sqrt(float(spread)))


def _odds(
    p: np.ndarray, q: np.ndarray, categorical: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the odds of being from now, if both sides had as many rows, of both, [n] and [m]."""
    design, side = np.concatenate((p, q)), np.repeat([0, 1], [len(p), len(q)])
    fold = np.random.default_rng(seed).permutation(len(side)) % _FOLDS
    found = np.empty(len(side))
    for at in range(_FOLDS):
        model = HistGradientBoostingClassifier(max_iter=60, **_trees(categorical, seed))
        with threadpool_limits(1):
            model.fit(design[fold != at], side[fold != at])
            found[fold == at] = model.decision_function(design[fold == at])
    odds = np.exp(np.clip(found, -30, 30)) * len(p) / len(q)
    return odds[: len(p)], odds[len(p) :]


def _expected(
    p: _Side, rows: np.ndarray, categorical: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the loss that the reference lets expect, of its own rows and of others.

    Of its own rows by models that have not learnt from them.
    """
    fold = np.random.default_rng(seed).permutation(len(p.losses)) % _FOLDS
    own, others = np.empty(len(p.losses)), np.zeros(len(rows))
    for at in range(_FOLDS):
        model = HistGradientBoostingRegressor(max_iter=50, **_trees(categorical, seed))
        with threadpool_limits(1):
            model.fit(p.x[fold != at], p.losses[fold != at])
            own[fold == at] = model.predict(p.x[fold == at])
            others += model.predict(rows) / _FOLDS
    return own, others


def _trees(categorical: np.ndarray, seed: int) -> dict[str, Any]:
    """Return what both models have in common: small trees, which few rows can fill."""
    return {
        "max_bins": 64,
        "max_leaf_nodes": 8,
        "categorical_features": categorical if categorical.any() else None,
        "random_state": seed,
    }


def _check(name: str, losses: np.ndarray, columns: Mapping[str, np.ndarray]) -> None:
    if losses.ndim != 1 or len(losses) < FEWEST:
        raise ValueError(f"{name} have shape {list(losses.shape)}; needed are [n], n >= {FEWEST}")
    if losses.dtype.kind not in "biuf" or not np.isfinite(losses).all():
        raise ValueError(f"{name} must be finite numbers, without NaN")
    if not columns:
        raise ValueError(f"there is no column beside {name}; a cause is found in columns")
    for column, values in columns.items():
        if values.shape != losses.shape:
            raise ValueError(
                f"column {column} has shape {list(values.shape)}; {name} are of {len(losses)} rows"
            )
