"""Vigil's own HTTP extensions: explanations, labels, findings and reports."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import parse_qs

import msgspec

from serving.channel.explanation import ExplainMeta, ExplainReply
from serving.channel.observation import (
    FINDINGS,
    LABELS,
    REPORT,
    FindingsMeta,
    Label,
    LabelCounts,
    LabelsMeta,
    ReportMeta,
    ReportReply,
)
from serving.dataplane.handler import DataPlane
from serving.errors import InvalidInput, Unsupported
from serving.protocol.json_codec import decode_request, encode_response
from serving.protocol.json_data import UNREADABLE, reason
from serving.protocol.json_duplicates import MOST, refuse_duplicates
from serving.protocol.messages import InferRequest, InferResponse, Tensor

MAX_LABELS = 100_000
MAX_LABELS_BYTES = 16 << 20
REPORTS = ("drift",)

_decode_reply = msgspec.msgpack.Decoder(ExplainReply).decode
_decode_counts = msgspec.msgpack.Decoder(LabelCounts).decode
_decode_report = msgspec.msgpack.Decoder(ReportReply).decode


class _LabelBody(msgspec.Struct):
    id: str
    y_true: float | str | bool | list[float]
    index: Annotated[int, msgspec.Meta(ge=0, lt=2**31)] = 0
    sensitive_features: dict[str, str | int | bool] = {}
    timestamp: str | None = None


class _LabelsBody(msgspec.Struct):
    labels: list[_LabelBody]


_decode_labels = msgspec.json.Decoder(_LabelsBody).decode


async def explain(plane: DataPlane, body: bytes, name: str, version: str) -> bytes:
    """Explain the rows of an OIP infer body; returns an OIP response as JSON.

    Raises:
        VigilError: the body, the model or the explanation is wrong.
    """
    request = decode_request(body, None, name, version)
    content, _ = encode_response(await explain_request(plane, request), request)
    return content


async def explain_request(plane: DataPlane, request: InferRequest) -> InferResponse:
    """Explain the rows of an OIP request, whatever transport it came by.

    Raises:
        VigilError: the request, the model or the explanation is wrong.
    """
    entry = plane.resolve(request.model_name, request.model_version)
    bound = entry.binder.bind(request)
    given = dict(request.parameters or {})
    meta = ExplainMeta(
        method=_parameter(given, "method", str),
        target=given.get("target"),
        baseline=_parameter(given, "baseline", str),
        n_steps=_parameter(given, "n_steps", int),
        n_samples=_parameter(given, "n_samples", int),
    )
    if meta.target is not None and not isinstance(meta.target, int | str):
        raise InvalidInput("parameter target must be a class's index or name")
    tensors = [
        Tensor(input_name, entry.specs[input_name].datatype, array.shape, array)
        for input_name, array in zip(entry.binder.input_names, bound.arrays, strict=True)
    ]
    message = await plane.explainers.explain(entry.name, entry.version, meta, tensors)
    reply = _decode_reply(message.meta)
    effort = {
        "n_steps": reply.n_steps,
        "n_samples": reply.n_samples,
        "n_features": reply.n_features,
    }
    parameters: dict[str, Any] = {
        "method": reply.method,
        "baseline": reply.baseline,
        **{name: value for name, value in effort.items() if value is not None},
        "target": ",".join(str(target) for target in reply.target),
    }
    return InferResponse(entry.name, entry.version, request.id, tuple(message.tensors), parameters)


def _parameter(given: dict[str, Any], name: str, kind: type) -> Any:
    value = given.get(name)
    if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
        what = "a text" if kind is str else "a whole number"
        raise InvalidInput(f"parameter {name} must be {what}")
    return value


async def labels(plane: DataPlane, body: bytes, name: str) -> bytes:
    """Take in labels; returns what became of them as JSON.

    Raises:
        InvalidInput: the body is not `{"labels": [...]}` as the protocol describes it.
        ModelNotReady: no monitor is there.
    """
    entry = plane.resolve(name)
    try:
        pushed = _decode_labels(body).labels
    except UNREADABLE as error:
        raise InvalidInput(f"labels: {reason(error)}") from None
    if len(pushed) > MAX_LABELS:
        raise InvalidInput(f"labels: at most {MAX_LABELS} at once; send several requests")
    if len(body) <= MOST:
        refuse_duplicates(body, "the body with labels")
    else:
        await asyncio.to_thread(refuse_duplicates, body, "the body with labels", MAX_LABELS_BYTES)
    meta = LabelsMeta(entry.name, [_label(item) for item in pushed])
    message = await plane.publisher.request(LABELS, meta)
    return msgspec.json.encode(_decode_counts(message.meta))


def _label(item: _LabelBody) -> Label:
    timestamp = None
    if item.timestamp is not None:
        try:
            timestamp = datetime.fromisoformat(item.timestamp).timestamp()
        except (ValueError, OverflowError):
            raise InvalidInput(
                f"labels: timestamp '{item.timestamp[:40]}' is not RFC 3339, "
                "for example 2026-01-31T12:00:00Z"
            ) from None
    sensitive = {name: str(value) for name, value in item.sensitive_features.items()}
    return Label(item.id, item.index, item.y_true, sensitive, timestamp)


async def findings(plane: DataPlane, name: str) -> bytes:
    """Return the latest findings of a model as JSON."""
    entry = plane.resolve(name)
    message = await plane.publisher.request(FINDINGS, FindingsMeta(entry.name))
    return msgspec.msgpack.decode(message.meta, type=bytes)


async def report(plane: DataPlane, name: str, kind: str, query: bytes) -> tuple[bytes, bytes]:
    """Return content type and body of a report.

    Raises:
        Unsupported: no such report.
        InvalidInput: the format is neither html nor json.
    """
    entry = plane.resolve(name)
    if kind not in REPORTS:
        raise Unsupported(f"no report '{kind[:40]}'; there is: {', '.join(REPORTS)}")
    wanted = parse_qs(query.decode("latin-1")).get("format", ["html"])[-1]
    if wanted not in ("html", "json"):
        raise InvalidInput("format must be html or json")
    message = await plane.publisher.request(
        REPORT, ReportMeta(entry.name, entry.version, kind, wanted)
    )
    reply = _decode_report(message.meta)
    return reply.content_type.encode("latin-1"), reply.body
