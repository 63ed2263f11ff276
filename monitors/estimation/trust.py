"""Whether an estimate of performance may alert: only while labels say that its band holds."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from scipy.special import bdtrc

from monitors.estimation.conformal_band import Estimated

_SPANS: Final = (5, 10, 20, 40)
"""Latest chunks over which misses are counted: a calm past must not hide a change."""
_FEWEST: Final = 5
"""Chunks with labels before an estimate is trusted."""
_EVEN: Final = 1e-12
"""Rounding that a value on the edge of its band is forgiven."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether the estimate of a metric may alert.

    Attributes:
        metric: its name.
        trusted: None: labels of too few chunks have come; then it may not alert either.
        why: in a sentence.
        p_value: of the test that misses are as rare as stated, corrected for the spans that were
            tried; 1 without a chunk.
        outside: chunks of the last 40, the oldest first, whose realised value was outside the band.
    """

    metric: str
    trusted: bool | None
    why: str
    p_value: float
    outside: tuple[str, ...]

    @property
    def may_alert(self) -> bool:
        """Whether the estimate may alert."""
        return self.trusted is True


class Trust:
    """Follows estimates and realised values of chunks; says whether the estimates may alert.

    An exact binomial test compares the share of misses among the latest 5, 10, 20 and 40 chunks
    with the stated one; Bonferroni's correction pays for the four. A test is made at every chunk,
    so an estimate that keeps its word still loses trust now and then, and regains it as the chunks
    move on: that costs alerts, not false ones. A band from few chunks of the reference may cover
    less than it states; then trust is lost more often than the level says.

    Args:
        level: of each test, in (0, 1).
    """

    def __init__(self, level: float = 0.05) -> None:
        if not 0 < level < 1:
            raise ValueError(f"level is {level:g}; it must be between 0 and 1")
        self._level = level
        self._past: dict[str, deque[tuple[str, int]]] = {}
        self._stated: dict[str, float] = {}

    def add(
        self, chunk: str, estimates: Mapping[str, Estimated], realised: Mapping[str, float]
    ) -> None:
        """Take note of a chunk whose labels have come.

        Metrics that are not defined in it, on either side, say nothing.

        Args:
            chunk: its name.
            estimates: by metric; a metric keeps its stated coverage.
            realised: values by metric.

        Raises:
            ValueError: a realised value is missing, or the stated coverage has changed.
        """
        for name, estimate in estimates.items():
            if name not in realised:
                raise ValueError(f"the realised value of {name} is missing for chunk {chunk}")
            stated = self._stated.setdefault(name, estimate.coverage)
            if abs(stated - estimate.coverage) > 1e-9:
                raise ValueError(
                    f"the coverage of {name} was {stated:g} and is {estimate.coverage:g}; "
                    f"begin a new trust"
                )
            side = _side(estimate, realised[name])
            if side is not None:
                self._past.setdefault(name, deque(maxlen=_SPANS[-1])).append((chunk, side))

    def verdict(self, metric: str) -> Verdict:
        """Return whether the estimate of a metric may alert."""
        past = list(self._past.get(metric, ()))
        outside = tuple(chunk for chunk, side in past if side)
        p_value, span, misses = self._clearest(metric, past)
        if p_value <= self._level:
            trusted, why = False, self._broken(metric, past, span, misses, p_value)
        elif len(past) < _FEWEST:
            trusted, why = None, f"labels of {len(past)} of {_FEWEST} chunks have come"
        else:
            trusted, why = True, f"{len(outside)} of the last {len(past)} chunks outside the band"
        return Verdict(
            metric=metric, trusted=trusted, why=why, p_value=p_value, outside=outside
        )  # fmt: skip

    def verdicts(self) -> list[Verdict]:
        """Return a verdict for each metric that has been seen, by name."""
        return [self.verdict(name) for name in sorted(self._stated)]

    def _clearest(self, metric: str, past: list[tuple[str, int]]) -> tuple[float, int, int]:
        """Return the corrected p-value, the span that has it, and the misses in it."""
        best = (1.0, len(past), 0)
        for span in sorted({min(each, len(past)) for each in _SPANS if past}):
            misses = sum(bool(side) for _, side in past[-span:])
            found = miss_p_value(misses, span, self._stated[metric])
            best = min(best, (min(found * len(_SPANS), 1.0), span, misses))
        return best

    def _broken(
        self, metric: str, past: list[tuple[str, int]], span: int, misses: int, p_value: float
    ) -> str:
        over = sum(side > 0 for _, side in past[-span:])
        under = misses - over
        way = f"{over} estimated too high, {under} too low"
        return (
            f"{misses} of the last {span} chunks outside the band ({way}), where "
            f"{1 - self._stated[metric]:.0%} are stated (p = {p_value:.2g})"
        )

    # -- what is saved ------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "stated": dict(self._stated),
            "past": {name: [list(each) for each in past] for name, past in self._past.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        stated = {str(name): float(value) for name, value in state["stated"].items()}
        past = {
            str(name): deque(((str(chunk), int(side)) for chunk, side in each), _SPANS[-1])
            for name, each in state["past"].items()
        }
        self._stated, self._past = stated, past


def miss_p_value(misses: int, chunks: int, coverage: float) -> float:
    """Return the probability of so many misses or more if each chunk misses with 1 - coverage.

    Source: the exact binomial test, one-sided.
    """
    if misses <= 0:
        return 1.0
    return float(bdtrc(misses - 1, chunks, 1 - coverage))


def _side(estimate: Estimated, realised: float) -> int | None:
    """Return 0 inside the band, 1 if the estimate is too high, -1 if too low; None: unknown."""
    if estimate.value != estimate.value or realised != realised:
        return None
    if realised < estimate.low - _EVEN:
        return 1
    return -1 if realised > estimate.high + _EVEN else 0
