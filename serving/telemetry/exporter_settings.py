"""What OpenTelemetry's variables say of an exporter beside its endpoint, read in one way.

The SDK's exporters read them too, each in its own way: one over gRPC does not know the compression
`none`, fails at an empty timeout, and goes on without a certificate whose file is missing.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from serving.telemetry.collector import Protocol, Signal
from serving.telemetry.exporting import quieten

Compression = Literal["none", "gzip", "deflate"]

DEFAULT_TIMEOUT_S: Final = 10.0
_PREFIX: Final = "OTEL_EXPORTER_OTLP_"
_COMPRESSIONS: Final[dict[Protocol, tuple[Compression, ...]]] = {
    "http/protobuf": ("none", "gzip", "deflate"),
    "grpc": ("none", "gzip"),
}


@dataclass(frozen=True, slots=True)
class ExporterSettings:
    """What an exporter is made with.

    Attributes:
        timeout_s: longest that one export may take, its retries included.
        compression: of what is sent.
    """

    timeout_s: float
    compression: Compression


def exporter_settings(
    signal: Signal,
    protocol: Protocol,
    ignored: Callable[[str], None],
    environment: MutableMapping[str, str] | None = None,
) -> ExporterSettings:
    """Read the variables, and take out of the environment what the SDK could not read.

    Args:
        signal: whose exporter it is; its own variables come first.
        protocol: how it speaks.
        ignored: told in a sentence of each variable that means nothing.
        environment: the process's, if none is given.

    Raises:
        ValueError: a variable names a file that cannot be read.
    """
    given = os.environ if environment is None else environment
    for name in [name for name in given if name.startswith("OTEL_") and not given[name].strip()]:
        del given[name]
    for what in ("CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE"):
        _check_file(given, _first(given, signal, what))
    timeout_s = _timeout(given, signal, ignored)
    return ExporterSettings(timeout_s, _compression(given, signal, protocol, ignored))


def exporter_arguments(
    signal: Signal,
    endpoint: str | None,
    protocol: Protocol,
    ignored: Callable[[str], None],
) -> dict[str, Any]:
    """Return what one of OpenTelemetry's exporters is made with; its libraries are quiet then.

    Args:
        signal: whose exporter it is.
        endpoint: the collector's URL, over HTTP with the signal's path; None: the environment's.
        protocol: how it speaks.
        ignored: told in a sentence of each variable that means nothing.

    Raises:
        ImportError: the package for gRPC is not installed.
        ValueError: a variable of the environment names a file that cannot be read.
    """
    quieten()
    settings = exporter_settings(signal, protocol, ignored)
    given = {"endpoint": endpoint, "timeout": settings.timeout_s}
    if protocol == "grpc":
        from grpc import Compression as GrpcCompression

        zipped = settings.compression == "gzip"
        compression = GrpcCompression.Gzip if zipped else GrpcCompression.NoCompression
        return {**given, "compression": compression}
    from opentelemetry.exporter.otlp.proto.http import Compression

    from serving.telemetry.bounded_http import bounded_session

    compression = Compression(settings.compression)
    return {**given, "compression": compression, "session": bounded_session(signal)}


def _names(signal: Signal, what: str) -> tuple[str, str]:
    return f"{_PREFIX}{signal.upper()}_{what}", f"{_PREFIX}{what}"


def _first(given: MutableMapping[str, str], signal: Signal, what: str) -> str:
    return next((name for name in _names(signal, what) if name in given), "")


def _check_file(given: MutableMapping[str, str], name: str) -> None:
    if not name:
        return
    try:
        with open(given[name], "rb"):  # noqa: PTH123 - a path may hold anything
            pass
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ValueError(
            f"{name} names '{given[name][:200]}', which cannot be read: {why}"
        ) from None


def _timeout(
    given: MutableMapping[str, str], signal: Signal, ignored: Callable[[str], None]
) -> float:
    for name in _names(signal, "TIMEOUT"):
        if name not in given:
            continue
        try:
            seconds = float(given[name])
        except ValueError:
            seconds = math.nan
        if 0 < seconds <= threading.TIMEOUT_MAX:
            return seconds
        ignored(
            f"{name} is '{given[name][:40]}', which is ignored: it must be a number of seconds "
            "above 0"
        )
        del given[name]
    return DEFAULT_TIMEOUT_S


def _compression(
    given: MutableMapping[str, str],
    signal: Signal,
    protocol: Protocol,
    ignored: Callable[[str], None],
) -> Compression:
    known = _COMPRESSIONS[protocol]
    for name in _names(signal, "COMPRESSION"):
        if name not in given:
            continue
        if (value := given[name].strip().lower()) in known:
            return value
        ignored(
            f"{name} is '{given[name][:40]}', which is ignored: over {protocol} it may be "
            f"{', '.join(known[:-1])} or {known[-1]}"
        )
    return "none"
