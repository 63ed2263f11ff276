"""Whether a process sends the lines of its log to a collector as well."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, get_args

import msgspec

from serving.telemetry.collector import (
    Protocol,
    exported,
    for_exporter,
    protocol_of,
    variables,
)

ENDPOINT: Final = "VIGIL_LOGS_ENDPOINT"
PROTOCOL: Final = "VIGIL_LOGS_PROTOCOL"
"""Environment variables by which processes that this one starts know what `vigil.yaml` says."""


class Collector(msgspec.Struct, frozen=True):
    """Where lines go.

    Attributes:
        endpoint: the collector's URL as the exporter takes it; None: as the environment says.
        protocol: how it is spoken to.
        ignored: sentences about variables that mean nothing here.
    """

    endpoint: str | None
    protocol: Protocol
    ignored: tuple[str, ...] = ()


def collector_of(environment: Mapping[str, str]) -> Collector | None:
    """Return where the environment wants lines to go; None: to standard error alone."""
    read = variables(environment)
    endpoint = read.get(ENDPOINT)
    if not exported(read, "logs", endpoint):
        return None
    ignored: list[str] = []
    told = read.get(PROTOCOL)
    known = {each: each for each in get_args(Protocol)}
    protocol: Protocol = known.get(told) or protocol_of(read, "logs", ignored)
    url = None if endpoint is None else for_exporter(endpoint, protocol, "logs")
    return Collector(url, protocol, tuple(ignored))
