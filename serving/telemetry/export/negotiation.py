"""Which format of `/metrics` a scraper gets (RFC 9110, section 12.5.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from serving.telemetry.export.prometheus import (
    OPENMETRICS,
    TEXT,
    openmetrics_text,
    prometheus_text,
)
from serving.telemetry.export.prometheus_protobuf import PROTOBUF, prometheus_protobuf
from serving.telemetry.series import Series

Exposition = Callable[[Iterable[Series]], bytes]

_FORMATS: Final[dict[str, tuple[str, Exposition]]] = {
    "application/openmetrics-text": (OPENMETRICS, openmetrics_text),
    "application/vnd.google.protobuf": (PROTOBUF, prometheus_protobuf),
}
_OPENMETRICS_VERSIONS: Final = ("", "1.0.0")
_FAMILY: Final = ("io.prometheus.client.metricfamily", "delimited")


def chosen(accept: str) -> tuple[str, Exposition]:
    """Return a content type and what makes it.

    Args:
        accept: the header; empty without one. Whoever names none of ours in it gets plain text.
    """
    best, most = "", 0.0
    for part in accept.split(","):
        media, *rest = [piece.strip().lower() for piece in part.split(";")]
        given = dict(piece.partition("=")[::2] for piece in rest)
        quality = _quality(given.get("q", "1"))
        if quality > most and _offered(media, given):
            best, most = media, quality
    return _FORMATS.get(best, (TEXT, prometheus_text))


def _offered(media: str, given: dict[str, str]) -> bool:
    if media == "application/openmetrics-text":
        return given.get("version", "").strip('"') in _OPENMETRICS_VERSIONS
    if media == "application/vnd.google.protobuf":
        return (given.get("proto"), given.get("encoding")) == _FAMILY
    return media in ("text/plain", "text/*", "*/*")


def _quality(text: str) -> float:
    try:
        quality = float(text)
    except ValueError:
        return 0.0
    return quality if 0 <= quality <= 1 else 0.0
