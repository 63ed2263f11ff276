"""Which requests are traced: OpenTelemetry's samplers, with no trace id for whom they leave out."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random
from typing import Final, Literal

from serving.telemetry.token_bucket import TokenBucket
from serving.telemetry.trace_context import SpanIds, parent_of

SamplerName = Literal[
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
]
"""The values of `OTEL_TRACES_SAMPLER` that need nobody else's software."""

PARENT_BASED: Final = "parentbased_"
_ALL: Final = 1 << 64
_FLAG: Final = 54
"""Where the last digit of the flags stands in a `traceparent`."""
_LENGTH: Final = 55
_NOT_SAMPLED: Final = frozenset(b"02468ace")


class Sampler:
    """Decides for each request; a request that is left out costs one call and no object.

    As in OpenTelemetry's SDK a trace belongs to the sample if the lower 64 bits of its id are below
    the ratio of their range. Where a trace begins here these bits are drawn first, and the rest of
    the id only if they are.

    Args:
        name: of the sampler.
        ratio: share of the traces, 0 to 1, where the name says `traceidratio`.
        random: draws ids.
        most_per_s: requests that are traced in a second, above 0; a second's worth may come at
            once. Those whose clients ask for it leave half of that to the traces that begin here,
            which nobody's requests are to keep out. None: no limit.
        on_limited: called for each that is left out because of it.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        name: SamplerName,
        ratio: float,
        random: Random | None = None,
        *,
        most_per_s: float | None = None,
        on_limited: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        root = name.removeprefix(PARENT_BASED)
        share = {"always_on": 1.0, "always_off": 0.0}.get(root, ratio)
        self._follows = root != name
        self._bound = round(share * _ALL)
        self._bits = (random or Random()).getrandbits  # noqa: S311 - ids, not secrets
        self._on_limited, self._clock = on_limited, clock
        self._bucket: TokenBucket | None = None
        self._spare = 0.0
        if most_per_s is not None:
            at_once = max(most_per_s, 1.0)
            self._spare = min(at_once / 2, at_once - 1)
            self._bucket = TokenBucket(1 / most_per_s, at_once, clock())

    def sample(self, traceparent: bytes) -> SpanIds | None:
        """Return the ids of the request's span; None: it is not traced.

        Args:
            traceparent: as the client sent it; empty without one. What cannot be read is no parent.
        """
        if traceparent:
            if self._follows and len(traceparent) == _LENGTH and traceparent[_FLAG] in _NOT_SAMPLED:
                return None
            parent = parent_of(traceparent)
            if parent is not None:
                return self._child(*parent)
        low = self._bits(64)
        if low >= self._bound or not self._allowed(0.0):
            return None
        # An id of nothing but zeros is none.
        return SpanIds((self._bits(64) << 64 | low) or 1, self.span_id())

    def span_id(self) -> int:
        """Return the id of a new span."""
        return self._bits(64) or 1

    def _child(self, trace: int, span: int, sampled: bool) -> SpanIds | None:
        if not (sampled if self._follows else trace % _ALL < self._bound):
            return None
        return SpanIds(trace, self.span_id(), span) if self._allowed(self._spare) else None

    def _allowed(self, spare: float) -> bool:
        """Whether a request that belongs to the sample may be traced now."""
        if self._bucket is None or self._bucket.take(self._clock(), spare):
            return True
        self._on_limited()
        return False
