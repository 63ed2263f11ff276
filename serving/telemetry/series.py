"""One cumulative time series of one process, as it travels and as it is added up."""

from __future__ import annotations

import msgspec


class Exemplar(msgspec.Struct, array_like=True, frozen=True):
    """One value of a histogram, and the trace of the request that it is of.

    Attributes:
        bucket: index of the bucket that counts it.
        value: as it was recorded.
        trace, span: ids in lower-case hexadecimal digits.
        time: seconds since the epoch.
    """

    bucket: int
    value: float
    trace: str
    span: str
    time: float


class Series(msgspec.Struct, array_like=True, frozen=True):
    """One cumulative time series of one process.

    Attributes:
        name: OpenTelemetry name, for example `vigil.inference.requests`.
        kind: `sum` (monotonic), `gauge` or `histogram`.
        unit: UCUM unit, for example `s`; `{row}` and the like for counts, `1` for fractions.
        attributes: name and value pairs, all from closed sets.
        value: the sum or the gauge; for a histogram the sum of what was recorded.
        bounds: upper bounds of a histogram's buckets, else empty.
        counts: one count per bucket and one above the last bound, else empty.
        exemplars: of a histogram's buckets, at most one each.
        exponential: (bucket, count) of a histogram's exponential buckets, if its metric has some;
            see `telemetry/exponential.py`.
        zeros: values that are in none of these because they count as zero.
    """

    name: str
    kind: str
    unit: str
    attributes: tuple[tuple[str, str], ...]
    value: float
    bounds: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    exemplars: tuple[Exemplar, ...] = ()
    exponential: tuple[tuple[int, int], ...] = ()
    zeros: int = 0
