"""`telemetry.traces` of `vigil.yaml`, and what OpenTelemetry's variables say beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast, get_args

import msgspec
from pydantic import Field, field_validator

from serving.config.section import Section
from serving.telemetry.collector import (
    Protocol,
    checked_endpoint,
    exported,
    for_exporter,
    protocol_of,
    variables,
)
from serving.telemetry.sampling import SamplerName

DEFAULT_RATIO: Final = 0.01
MOST_PER_SECOND: Final = 200.0
_DEFAULT_SAMPLER: Final[SamplerName] = "parentbased_traceidratio"


class Traces(Section):
    """Which requests are traced, and where the traces go."""

    endpoint: str | None = Field(
        None,
        description="OTLP collector, for example http://127.0.0.1:4318 (4317 with gRPC). None: "
        "`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` or `OTEL_EXPORTER_OTLP_ENDPOINT`; without those "
        "nothing is traced.",
    )
    protocol: Protocol | None = Field(
        None,
        description="How the collector is spoken to. None: `OTEL_EXPORTER_OTLP_PROTOCOL`, or "
        "else http/protobuf.",
    )
    sample_ratio: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Share of the traces that begin here that are kept; a client's own trace is "
        "kept if the client keeps it. None: `OTEL_TRACES_SAMPLER_ARG`, or else 0.01.",
    )
    max_per_second: float | None = Field(
        MOST_PER_SECOND,
        gt=0,
        allow_inf_nan=False,
        description="Requests that a gateway traces in a second, whoever asks for it: spans take "
        "processor time from answers. None: no limit.",
    )

    @field_validator("endpoint")
    @classmethod
    def _is_url(cls, endpoint: str | None) -> str | None:
        return checked_endpoint(endpoint)


class TraceSettings(msgspec.Struct, frozen=True):
    """What a gateway does about traces.

    Attributes:
        endpoint: the collector's URL as the exporter takes it; None: as the environment says.
        protocol: how it is spoken to.
        sampler, ratio: see `Sampler`.
        ignored: sentences about variables that mean nothing here.
        max_per_second: requests that a gateway traces in a second; None: no limit.
    """

    endpoint: str | None
    protocol: Protocol
    sampler: SamplerName
    ratio: float
    ignored: tuple[str, ...] = ()
    max_per_second: float | None = MOST_PER_SECOND


def trace_settings(traces: Traces, environment: Mapping[str, str]) -> TraceSettings | None:
    """Return what the configuration says, and the environment where that says nothing.

    As OpenTelemetry wants it, an empty variable is none, and one that cannot be read is told of
    and ignored.

    Returns:
        None where nothing is traced: without a collector, or with tracing switched off.
    """
    read = variables(environment)
    if not exported(read, "traces", traces.endpoint):
        return None
    ignored: list[str] = []
    protocol = traces.protocol or protocol_of(read, "traces", ignored)
    ratio = traces.sample_ratio
    return TraceSettings(
        None if traces.endpoint is None else for_exporter(traces.endpoint, protocol, "traces"),
        protocol,
        _sampler(read, ignored),
        _ratio(read, ignored) if ratio is None else ratio,
        tuple(ignored),
        traces.max_per_second,
    )


def _sampler(read: Mapping[str, str], ignored: list[str]) -> SamplerName:
    value = read.get("OTEL_TRACES_SAMPLER", _DEFAULT_SAMPLER)
    if value in get_args(SamplerName):
        return cast(SamplerName, value)
    ignored.append(
        f"OTEL_TRACES_SAMPLER is '{value[:40]}', which is ignored: it may be "
        f"{', '.join(get_args(SamplerName))}"
    )
    return _DEFAULT_SAMPLER


def _ratio(read: Mapping[str, str], ignored: list[str]) -> float:
    text = read.get("OTEL_TRACES_SAMPLER_ARG", str(DEFAULT_RATIO))
    try:
        ratio = float(text)
    except ValueError:
        ratio = -1.0
    if 0 <= ratio <= 1:
        return ratio
    ignored.append(
        f"OTEL_TRACES_SAMPLER_ARG is '{text[:40]}', which is ignored: it must be a number from 0 "
        f"to 1; {DEFAULT_RATIO:g} is used"
    )
    return DEFAULT_RATIO
