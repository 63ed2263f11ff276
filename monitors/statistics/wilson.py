"""The Wilson score interval of a proportion."""

from __future__ import annotations

import math
from statistics import NormalDist


def wilson(k: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the two-sided score interval; (0, 1) without any trial.

    Wilson (1927), "Probable inference, the law of succession, and statistical inference",
    Journal of the American Statistical Association 22(158).

    Args:
        k: successes, 0 <= k <= n.
        n: trials.
        confidence: in (0, 1).

    Raises:
        ValueError: k, n or confidence out of range.
    """
    if not 0 <= k <= n:
        raise ValueError(f"need 0 <= k <= n; got k={k}, n={n}")
    if not 0 < confidence < 1:
        raise ValueError("confidence must be between 0 and 1")
    if n == 0:
        return 0.0, 1.0
    # The lower tail keeps its precision where 0.5 + confidence / 2 would round to one.
    z = -NormalDist().inv_cdf((1 - confidence) / 2)
    share, weight = k / n, z * z / n
    centre = (share + weight / 2) / (1 + weight)
    reach = z * math.sqrt(share * (1 - share) / n + weight / (4 * n)) / (1 + weight)
    return (centre - reach if k else 0.0), (centre + reach if k < n else 1.0)
