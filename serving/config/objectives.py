"""What a model's answers are held to: `slo` of `model.yaml`."""

from __future__ import annotations

from pydantic import Field

from serving.config.section import Section


class Slo(Section):
    """Service level objectives; requests are counted by them as good or not."""

    availability: float = Field(
        0.999,
        gt=0,
        lt=1,
        description="Share of requests that are to be good: answered, and in time.",
    )
    latency_ms: float | None = Field(
        None,
        gt=0,
        description="Time from a request's arrival to its answer, within which it is good; none: "
        "any.",
    )
