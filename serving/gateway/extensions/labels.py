"""Taking in labels, as JSON and as gRPC messages: what was true of predictions made before."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Final

import msgspec

from serving.channel.messages.observation import (
    LABELS,
    LABELS_WANTED,
    Label,
    LabelCounts,
    LabelsMeta,
    LabelsWantedMeta,
    LabelsWantedReply,
)
from serving.dataplane.context import RequestContext
from serving.dataplane.handler import DataPlane
from serving.errors import InvalidInput
from serving.gateway.threads import in_thread
from serving.protocol.json.data import UNREADABLE, reason
from serving.protocol.json.duplicates import MOST, refuse_duplicates
from serving.protocol.pb import vigil_pb2 as pb

MAX_LABELS: Final = 100_000
MAX_LABELS_BYTES: Final = 16 << 20

MOST_WANTED: Final = 10_000

_decode_counts = msgspec.msgpack.Decoder(LabelCounts).decode


class _LabelBody(msgspec.Struct):
    id: str
    y_true: float | str | bool | list[float]
    index: Annotated[int, msgspec.Meta(ge=0, lt=2**31)] = 0
    sensitive_features: dict[str, str | int | bool] = {}
    timestamp: str | None = None


class _LabelsBody(msgspec.Struct):
    labels: list[_LabelBody]


class _WantedBody(msgspec.Struct, forbid_unknown_fields=True):
    rows: Annotated[int, msgspec.Meta(ge=1, le=MOST_WANTED)] = 200


_decode_labels = msgspec.json.Decoder(_LabelsBody).decode
_decode_wanted = msgspec.json.Decoder(_WantedBody).decode
_decode_order = msgspec.msgpack.Decoder(LabelsWantedReply).decode


async def labels(plane: DataPlane, body: bytes, name: str) -> bytes:
    """Take in labels; returns what became of them as JSON.

    Raises:
        InvalidInput: the body is not `{"labels": [...]}` as the protocol describes it.
        ModelNotReady: no monitor is there.
    """
    plane.resolve(name)
    try:
        pushed = _decode_labels(body).labels
    except UNREADABLE as error:
        raise InvalidInput(f"labels: {reason(error)}") from None
    _check_number(pushed)
    if len(body) <= MOST:
        refuse_duplicates(body, "the body with labels")
    else:
        refuse = partial(refuse_duplicates, what="the body with labels", most=MAX_LABELS_BYTES)
        await in_thread(refuse, body)
    found = [
        _label(label.id, label.index, label.y_true, label.sensitive_features, label.timestamp)
        for label in pushed
    ]
    return msgspec.json.encode(await _push(plane, name, found))


async def wanted(plane: DataPlane, body: bytes, name: str) -> bytes:
    """Order rows to be labelled next; returns them as JSON.

    Raises:
        InvalidInput: the body is not `{"rows": n}`.
        ModelNotReady: no monitor is there.
    """
    entry = plane.resolve(name)
    try:
        rows = _decode_wanted(body or b"{}").rows
    except UNREADABLE as error:
        raise InvalidInput(f"labels wanted: {reason(error)}") from None
    asked = LabelsWantedMeta(entry.name, rows, secrets.randbits(63))
    message = await plane.publisher.request(LABELS_WANTED, asked, model=entry.name)
    return msgspec.json.encode(_decode_order(message.meta))


async def push(plane: DataPlane, request: Any, _context: RequestContext) -> Any:
    """Take in the labels of a gRPC message; returns what became of them as another.

    Raises:
        InvalidInput: a label says nothing, or its index or timestamp is wrong.
        ModelNotReady: no monitor is there.
    """
    plane.resolve(request.model_name)
    _check_number(request.labels)
    found = [_read(label, position) for position, label in enumerate(request.labels)]
    counts = await _push(plane, request.model_name, found)
    return pb.LabelsPushResponse(**msgspec.to_builtins(counts))


async def _push(plane: DataPlane, name: str, found: list[Label]) -> LabelCounts:
    message = await plane.publisher.request(LABELS, LabelsMeta(name, found), model=name)
    return _decode_counts(message.meta)


def _check_number(pushed: Sequence[object]) -> None:
    if len(pushed) > MAX_LABELS:
        raise InvalidInput(f"labels: at most {MAX_LABELS} at once; send several requests")


def _read(label: Any, position: int) -> Label:
    field = label.WhichOneof("y_true")
    if field is None:
        raise InvalidInput(f"labels: label {position} has no y_true")
    if label.index < 0:
        raise InvalidInput(f"labels: label {position}: index {label.index} must be 0 or more")
    y_true = list(label.numbers.values) if field == "numbers" else getattr(label, field)
    return _label(label.id, label.index, y_true, label.sensitive_features, label.timestamp or None)


def _label(
    ident: str,
    index: int,
    y_true: float | str | bool | list[float],
    sensitive_features: Mapping[str, object],
    given: str | None,
) -> Label:
    timestamp = None
    if given is not None:
        try:
            timestamp = datetime.fromisoformat(given).timestamp()
        except (ValueError, OverflowError):
            raise InvalidInput(
                f"labels: timestamp '{given[:40]}' is not RFC 3339, "
                "for example 2026-01-31T12:00:00Z"
            ) from None
    sensitive = {name: str(value) for name, value in sensitive_features.items()}
    return Label(ident, index, y_true, sensitive, timestamp)
