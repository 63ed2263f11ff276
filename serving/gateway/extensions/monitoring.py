"""What the monitor found of a model: findings and reports."""

from __future__ import annotations

from urllib.parse import parse_qs

import msgspec

from serving.channel.messages.observation import (
    FINDINGS,
    REPORT,
    FindingsMeta,
    ReportMeta,
    ReportReply,
)
from serving.dataplane.handler import DataPlane
from serving.errors import InvalidInput, NotFound

REPORTS = ("drift",)

_decode_report = msgspec.msgpack.Decoder(ReportReply).decode


async def findings(plane: DataPlane, name: str) -> bytes:
    """Return the latest findings of a model as JSON."""
    entry = plane.resolve(name)
    message = await plane.publisher.request(FINDINGS, FindingsMeta(entry.name))
    return msgspec.msgpack.decode(message.meta, type=bytes)


async def report(plane: DataPlane, name: str, kind: str, query: bytes) -> tuple[bytes, bytes]:
    """Return content type and body of a report.

    Raises:
        NotFound: no such report.
        InvalidInput: the format is neither html nor json.
        VersionNotFound: `version` names none that is watched.
    """
    entry = plane.resolve(name)
    if kind not in REPORTS:
        raise NotFound(f"no report '{kind[:40]}'; there is: {', '.join(REPORTS)}")
    asked = parse_qs(query.decode("latin-1"))
    wanted = asked.get("format", ["html"])[-1]
    if wanted not in ("html", "json"):
        raise InvalidInput("format must be html or json")
    only = asked.get("version", [""])[-1]
    message = await plane.publisher.request(
        REPORT, ReportMeta(entry.name, entry.version, kind, wanted, only)
    )
    reply = _decode_report(message.meta)
    return reply.content_type.encode("latin-1"), reply.body
