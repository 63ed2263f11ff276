"""Exact bounds of a proportion: what a realised false positive rate says about the true one."""

from __future__ import annotations


def binomial_bounds(k: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the two-sided Clopper-Pearson interval of a proportion.

    Clopper and Pearson (1934), "The use of confidence or fiducial limits illustrated in the
    case of the binomial", Biometrika 26(4). Covers with at least the confidence, whatever n.

    Args:
        k: successes, 0 <= k <= n.
        n: trials; without any the interval is (0, 1).
        confidence: in (0, 1).

    Raises:
        ValueError: k, n or confidence out of range.
    """
    if not 0 <= k <= n:
        raise ValueError(f"need 0 <= k <= n; got k={k}, n={n}")
    if not 0 < confidence < 1:
        raise ValueError("confidence must be between 0 and 1")
    from scipy.special import betaincinv  # only calibration needs it: 0.1 s of import

    tail = (1 - confidence) / 2
    lower = float(betaincinv(k, n - k + 1, tail)) if k else 0.0
    upper = float(betaincinv(k + 1, n - k, 1 - tail)) if k < n else 1.0
    return lower, upper
