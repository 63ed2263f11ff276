"""What a metric is, and how the kinds of them are declared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["sum", "gauge", "histogram"]
Merge = Literal["sum", "min", "max", "last"]

LATENCY_BOUNDS_S: Final = (
    50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 20e-3, 50e-3,
    100e-3, 200e-3, 500e-3, 1.0, 2.0, 5.0, 10.0,
)  # fmt: skip
"""Upper bounds of latency buckets in seconds, 50 microseconds to 10 seconds."""

BATCH_BOUNDS: Final = tuple(float(2**power) for power in range(11))
"""Upper bounds of batch size buckets, 1 to 1024 rows."""

SCORE_BOUNDS: Final = (
    0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0, 100.0,
)  # fmt: skip
"""Upper bounds of guard score buckets, in multiples of the threshold.

Raw scores of two guards, models or profiles have no common scale; these have. The threshold is a
bound itself, so that what is above it is the share that did not pass. Bounds are closest around
it: rows that move there are seen before they are flagged.
"""

ERROR_BOUNDS: Final = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0)
"""Upper bounds of relative error buckets."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        name: OpenTelemetry name.
        kind: `sum` only ever grows; `gauge` is a current value; `histogram` has fixed bounds.
        unit: UCUM unit, base units only.
        description: one line for people.
        bounds: a histogram's upper bucket bounds.
        merge: how gauges of several processes with the same attributes become one: amounts
            add up, lags take the worst, verdicts (which one process makes) take the last.
        labels: names of its attributes; one that does not apply to a series is left out there.
        exponential: whether a histogram has exponential buckets beside those with fixed bounds.
        outlives: whether a sum is kept when its process ends; one about the process itself is not.
    """

    name: str
    kind: Kind
    unit: str
    description: str
    bounds: tuple[float, ...] = ()
    merge: Merge = "sum"
    labels: tuple[str, ...] = ()
    outlives: bool = True
    exponential: bool = False


OF_VERSION: Final = ("model", "version")
OF_FINDING: Final = ("monitor", "metric", "subject")
OF_PROCESS: Final = ("role", "process", *OF_VERSION)


def latency(name: str, description: str, *labels: str) -> Metric:
    """Return a histogram of seconds."""
    return Metric(
        name,
        "histogram",
        "s",
        description,
        LATENCY_BOUNDS_S,
        labels=(*OF_VERSION, *labels),
        exponential=True,
    )


def total(
    name: str, what: str, description: str, *labels: str, of: tuple[str, ...] = OF_VERSION
) -> Metric:
    """Return a sum of things."""
    return Metric(name, "sum", f"{{{what}}}", description, labels=(*of, *labels))


def amount(name: str, what: str, description: str) -> Metric:
    """Return a gauge that adds up over processes."""
    return Metric(name, "gauge", f"{{{what}}}", description, labels=OF_VERSION)


def verdict(name: str, unit: str, description: str, *labels: str) -> Metric:
    """Return a gauge that one process sets."""
    return Metric(name, "gauge", unit, description, merge="last", labels=(*OF_VERSION, *labels))


def process(name: str, unit: str, description: str, merge: Merge = "sum") -> Metric:
    """Return a gauge of a process."""
    return Metric(name, "gauge", unit, description, merge=merge, labels=OF_PROCESS)
