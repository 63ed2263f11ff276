"""How a collector of OpenTelemetry's is named: by `vigil.yaml`, or by the `OTEL_*` variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, cast, get_args
from urllib.parse import urlsplit, urlunsplit

Protocol = Literal["http/protobuf", "grpc"]
Signal = Literal["traces", "logs", "metrics"]

GENERAL_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"


def variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that say something: as OpenTelemetry wants it, an empty one is none."""
    return {name: value.strip() for name, value in environment.items() if value.strip()}


def exported(read: Mapping[str, str], signal: Signal, endpoint: str | None) -> bool:
    """Whether a signal has somewhere to go, and is not switched off.

    Args:
        read: the variables.
        signal: which one.
        endpoint: what the configuration names.
    """
    if read.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    if read.get(f"OTEL_{signal.upper()}_EXPORTER") == "none":
        return False
    return endpoint is not None or bool(_first(read, _own(signal, "ENDPOINT"), GENERAL_ENDPOINT))


def protocol_of(read: Mapping[str, str], signal: Signal, ignored: list[str]) -> Protocol:
    """Return the protocol that the variables name; sentences about wrong ones go to `ignored`."""
    name = _first(read, _own(signal, "PROTOCOL"), "OTEL_EXPORTER_OTLP_PROTOCOL")
    value = read.get(name, "http/protobuf")
    if value in get_args(Protocol):
        return cast(Protocol, value)
    ignored.append(
        f"{name} is '{value[:40]}', which is ignored: {signal} go by http/protobuf or grpc"
    )
    return "http/protobuf"


def for_exporter(endpoint: str, protocol: Protocol, signal: Signal) -> str:
    """Return the URL that an exporter takes: over HTTP it wants the signal's path as well."""
    base = endpoint.rstrip("/")
    path = f"/v1/{signal}"
    return base if protocol == "grpc" or base.endswith(path) else base + path


def without_credentials(endpoint: str) -> str:
    """Return an endpoint as the log may show it: without the name and password of a user."""
    parts = urlsplit(endpoint)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def checked_endpoint(endpoint: str | None) -> str | None:
    """Return the endpoint that a configuration names.

    Raises:
        ValueError: it is none.
    """
    if endpoint is not None and not _is_endpoint(endpoint):
        raise ValueError(
            f"'{endpoint}' is no collector; write a URL with scheme and host, such as "
            "http://127.0.0.1:4318"
        )
    return endpoint


def _own(signal: Signal, what: str) -> str:
    return f"OTEL_EXPORTER_OTLP_{signal.upper()}_{what}"


def _first(read: Mapping[str, str], *names: str) -> str:
    return next((name for name in names if name in read), "")


def _is_endpoint(endpoint: str) -> bool:
    try:
        parts = urlsplit(endpoint)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
