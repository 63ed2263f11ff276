"""`telemetry.logs` of `vigil.yaml`."""

from __future__ import annotations

from pydantic import Field, field_validator

from serving.config.section import Section
from serving.telemetry.collector import Protocol, checked_endpoint


class Logs(Section):
    """Where lines of the log go, beside standard error."""

    endpoint: str | None = Field(
        None,
        description="OTLP collector, for example http://127.0.0.1:4318 (4317 with gRPC). None: "
        "`OTEL_EXPORTER_OTLP_LOGS_ENDPOINT` or `OTEL_EXPORTER_OTLP_ENDPOINT`; without those "
        "lines go to standard error alone.",
    )
    protocol: Protocol | None = Field(
        None,
        description="How the collector is spoken to. None: `OTEL_EXPORTER_OTLP_PROTOCOL`, or "
        "else http/protobuf.",
    )

    @field_validator("endpoint")
    @classmethod
    def _is_url(cls, endpoint: str | None) -> str | None:
        return checked_endpoint(endpoint)
