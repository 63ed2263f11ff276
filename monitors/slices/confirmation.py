"""Whether a slice is bad on rows that did not help to find it."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.special import gammaln, ndtr, stdtr, stdtrit

from monitors.statistics.newcombe import newcombe
from monitors.statistics.wilson import wilson


class Confirmed(NamedTuple):
    """A slice on held-out rows.

    Attributes:
        value: mean error, or gap of the groups.
        low, high: interval of it, each end of which is wrong with (1 - confidence) / 2.
        p_value: one-sided, that the slice is no worse than the rest.
    """

    value: float
    low: float
    high: float
    p_value: float


UNKNOWN = Confirmed(math.nan, math.nan, math.nan, 1.0)
"""Too few held-out rows for any verdict."""


def error_confirmed(errors: np.ndarray, inside: np.ndarray, confidence: float) -> Confirmed:
    """Compare the mean error of a slice with that of the rest.

    Errors of 0 and 1 by Fisher's exact test, with Wilson's interval; others by Welch's test
    (Welch (1947), Biometrika 34), with Student's interval.

    Args:
        errors: of the rows, [n].
        inside: which are in the slice, bool [n].
        confidence: of the interval, in (0, 1).
    """
    own, rest = errors[inside], errors[~inside]
    if len(own) < 2 or len(rest) < 2:
        return UNKNOWN
    mean = float(own.mean())
    if ((errors == 0) | (errors == 1)).all():
        hits = int(own.sum())
        low, high = wilson(hits, len(own), confidence)
        return Confirmed(mean, low, high, fisher(hits, len(own), int(rest.sum()), len(rest)))
    spreads = np.array([own.var(ddof=1) / len(own), rest.var(ddof=1) / len(rest)])
    reach = float(stdtrit(len(own) - 1, (1 + confidence) / 2)) * math.sqrt(spreads[0])
    return Confirmed(
        mean, mean - reach, mean + reach, _welch(mean - rest.mean(), spreads, own, rest)
    )


def gap_confirmed(
    outcomes: np.ndarray, members: np.ndarray, inside: np.ndarray, confidence: float
) -> Confirmed:
    """Compare the gap of two groups in a slice with that in the rest, in the slice's direction.

    A z-test of the difference of two differences of proportions, with one hit and one miss added to
    each of the four (Agresti and Caffo (2000), The American Statistician 54(4)); Newcombe's
    interval of the gap.

    Args:
        outcomes: 0 or 1, [n].
        members: which rows are of the group, bool [n].
        inside: which rows are in the slice, bool [n].
        confidence: of the interval, in (0, 1).
    """
    cells = [outcomes[part & group] for part in (inside, ~inside) for group in (members, ~members)]
    if min(len(cell) for cell in cells) < 2:
        return UNKNOWN
    hits, rows = [int(cell.sum()) for cell in cells], [len(cell) for cell in cells]
    low, high = newcombe(hits[0], rows[0], hits[1], rows[1], confidence)
    value = hits[0] / rows[0] - hits[1] / rows[1]
    shares = np.array([(h + 1) / (r + 2) for h, r in zip(hits, rows, strict=True)])
    spread = float(sum(s * (1 - s) / (r + 2) for s, r in zip(shares, rows, strict=True)))
    more = (shares[0] - shares[1]) - (shares[2] - shares[3])
    sign = math.copysign(1, value)
    return Confirmed(value, low, high, float(ndtr(-sign * more / math.sqrt(spread))))


def fisher(hits: int, rows: int, other_hits: int, other_rows: int) -> float:
    """Return the one-sided p-value that so many of all hits or more are in the first sample.

    Source: Fisher's exact test: the hypergeometric distribution.
    """
    total, all_hits = rows + other_rows, hits + other_hits
    which = np.arange(hits, min(rows, all_hits) + 1)
    logs = (
        _log_choose(all_hits, which)
        + _log_choose(total - all_hits, rows - which)
        - _log_choose(total, np.array(rows))
    )
    return min(float(np.exp(logs).sum()), 1.0)


def worse_by(own: np.ndarray, rest: np.ndarray) -> float:
    """Return by how many standard errors the mean of the first sample is above the other's."""
    if len(own) < 2 or len(rest) < 2:
        return 0.0
    pooled = np.concatenate((own, rest))
    spread = pooled.var() * (1 / len(own) + 1 / len(rest))
    return float((own.mean() - rest.mean()) / math.sqrt(spread)) if spread > 0 else 0.0


def _log_choose(n: int, k: np.ndarray) -> np.ndarray:
    inside = (k >= 0) & (k <= n)
    k = np.clip(k, 0, n)
    found: np.ndarray = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return np.where(inside, found, -np.inf)


def _welch(difference: float, spreads: np.ndarray, own: np.ndarray, rest: np.ndarray) -> float:
    total = float(spreads.sum())
    if total <= 0:
        return 0.0 if difference > 0 else 1.0
    degrees = total**2 / float(spreads[0] ** 2 / (len(own) - 1) + spreads[1] ** 2 / (len(rest) - 1))
    return float(stdtr(degrees, -difference / math.sqrt(total)))
