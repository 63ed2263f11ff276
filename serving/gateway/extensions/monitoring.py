"""What the monitor knows of a model: findings, reports, and logged predictions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qs, parse_qsl

import msgspec

from serving.channel.messages.incidents import INCIDENT, INCIDENTS, IncidentOrder
from serving.channel.messages.observation import (
    FINDINGS,
    PREDICTIONS,
    REPORT,
    REPORTS,
    FindingsMeta,
    PredictionsMeta,
    ReportMeta,
    ReportReply,
    ReportsMeta,
)
from serving.channel.messages.watched import MONITORS, MonitorsMeta
from serving.dataplane.handler import DataPlane
from serving.errors import InvalidInput, ModelNotFound, NotFound
from serving.incidents.requests import read_action, read_query
from serving.protocol.ids import MAX_ID
from serving.protocol.moments import window

KINDS: Final = ("drift", "performance", "fairness", "quality")
FROM_LOG: Final = ("performance", "fairness")
"""Those that are made from the log whatever is asked."""
USUAL_SPAN: Final = "7d"

_decode_report = msgspec.msgpack.Decoder(ReportReply).decode


async def findings(plane: DataPlane, name: str) -> bytes:
    """Return the latest findings of a model as JSON."""
    entry = plane.resolve(name)
    message = await plane.publisher.request(FINDINGS, FindingsMeta(entry.name), model=entry.name)
    return msgspec.msgpack.decode(message.meta, type=bytes)


async def monitors(plane: DataPlane, name: str) -> bytes:
    """Return what is watched of a model, how strictly, and what can be seen, as JSON."""
    entry = plane.resolve(name)
    message = await plane.publisher.request(MONITORS, MonitorsMeta(entry.name), model=entry.name)
    return msgspec.msgpack.decode(message.meta, type=bytes)


async def reports(plane: DataPlane, name: str) -> bytes:
    """Return which reports there can be of a model, and which are kept, as JSON."""
    entry = plane.resolve(name)
    message = await plane.publisher.request(REPORTS, ReportsMeta(entry.name), model=entry.name)
    return msgspec.msgpack.decode(message.meta, type=bytes)


async def report(plane: DataPlane, name: str, kind: str, query: bytes) -> tuple[bytes, bytes]:
    """Return content type and body of a report.

    Raises:
        NotFound: no such report, or none is kept with the id `kept`.
        InvalidInput: the format is neither html nor json, or `last`, `since` and `until` are wrong.
        VersionNotFound: `version` names none that is watched.
    """
    entry = plane.resolve(name)
    if kind not in KINDS:
        raise NotFound(f"no report '{kind[:40]}'; there is: {', '.join(KINDS)}")
    asked = parse_qs(query.decode("latin-1"))
    wanted = asked.get("format", ["html"])[-1]
    if wanted not in ("html", "json"):
        raise InvalidInput("format must be html or json")
    only = asked.get("version", [""])[-1]
    last, since, until = (asked.get(name, [None])[-1] for name in ("last", "since", "until"))
    if kind in FROM_LOG and last is since is until is None:
        last = USUAL_SPAN
    first, end = (
        None if each is None else each.timestamp()
        for each in window(last, since, until, datetime.now(UTC), "")
    )
    kept = asked.get("kept", [""])[-1]
    meta = ReportMeta(entry.name, entry.version, kind, wanted, only, first, end, kept)
    message = await plane.publisher.request(REPORT, meta, model=entry.name)
    reply = _decode_report(message.meta)
    return reply.content_type.encode("latin-1"), reply.body


async def predictions(plane: DataPlane, name: str, ident: str, query: bytes) -> bytes:
    """Return what was logged of a request as JSON, also where its model is not served any more.

    Args:
        ident: the client's id of the request, or the own id of a batch; empty: in the query.
        query: `index`, a row of the request; `id`, for ids that no path can have.

    Raises:
        InvalidInput: no id is given, or one that no request has; or the index is no number.
        ModelNotFound: no such model is served, and the log has none of its predictions.
        NotFound: the log has no such prediction; the message says what may be why.
        Unsupported: nothing is logged.
    """
    asked = parse_qs(query.decode("latin-1"))
    ident = ident or asked.get("id", [""])[-1]
    if not 0 < len(ident) <= MAX_ID:
        raise InvalidInput(
            f"name a request: its id, of 1 to {MAX_ID} characters, at the end of the path or as "
            "`?id=`"
        )
    meta = PredictionsMeta(name, ident, _index(asked.get("index", [None])[-1]))
    unknown: ModelNotFound | None = None
    try:
        plane.resolve(name)
    except ModelNotFound as error:
        unknown = error
    try:
        message = await plane.publisher.request(PREDICTIONS, meta, model=name)
    except NotFound as error:
        raise unknown or error from None
    return msgspec.msgpack.decode(message.meta, type=bytes)


async def incidents(plane: DataPlane, query: bytes) -> bytes:
    """Return the incidents that are asked for as JSON; see `read_query`."""
    asked = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    return await plane.incidents(INCIDENTS, read_query(asked))


async def incident(plane: DataPlane, ident: str, body: bytes | None = None) -> bytes:
    """Return one incident as JSON, after what is to be done with it.

    Args:
        ident: its id.
        body: what is to be done; see `read_action`. None: nothing.
    """
    order = IncidentOrder(ident) if body is None else read_action(ident, body)
    return await plane.incidents(INCIDENT, order)


def _index(given: str | None) -> int | None:
    if given is None:
        return None
    if not (given.isascii() and given.isdigit() and len(given) < 11 and int(given) < 2**31):
        raise InvalidInput(f"index '{given[:40]}' must be a row of the request: 0 or more")
    return int(given)
