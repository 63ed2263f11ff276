"""One cumulative time series of one process, as it travels and as it is added up."""

from __future__ import annotations

import msgspec


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
    """

    name: str
    kind: str
    unit: str
    attributes: tuple[tuple[str, str], ...]
    value: float
    bounds: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
