"""Explanations of answers: an OIP request in, attributions out, over either protocol."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from serving.channel.messages.explanation import ExplainMeta, ExplainReply
from serving.config import Explain
from serving.config.explainers.listed import effort_names
from serving.dataplane.context import RequestContext
from serving.dataplane.handler import DataPlane
from serving.dataplane.hooks.failed_requests import log_failure
from serving.dataplane.hooks.failures import failure_of
from serving.dataplane.hooks.records import Failure
from serving.dataplane.hooks.request_spans import ExplanationSpan
from serving.dataplane.requests.rejections import gone
from serving.dataplane.requests.timeout import shorter
from serving.dataplane.served import ServedVersion
from serving.errors import InvalidInput, Unsupported, VigilError
from serving.protocol.messages import InferRequest, InferResponse, Tensor

_decode_reply = msgspec.msgpack.Decoder(ExplainReply).decode


async def explain_request(
    plane: DataPlane, request: InferRequest, context: RequestContext
) -> InferResponse:
    """Explain the rows of an OIP request, whatever transport it came by.

    Args:
        context: what it came with; the request parameter `timeout` (microseconds) and the model's
            `explain.max_seconds` may be earlier than its deadline.

    Raises:
        VigilError: the request, the model or the explanation is wrong.
    """
    entry = plane.served_version(request.model_name, request.model_version)
    span = None if entry.spans is None else entry.spans.explanation(request, context)
    failure: Failure | None = failure_of(gone())  # unless it ends otherwise
    rows = 0
    try:
        answer, rows = await _explain(plane, entry, request, context, span)
        failure = None
        return answer
    except VigilError as error:
        failure = failure_of(error)
        log_failure(
            error,
            model=entry.name,
            version=entry.version,
            request_id=request.id,
            span=None if span is None else span.context.span,
            traceparent=context.traceparent,
            explains=True,
        )
        raise
    finally:
        if span is not None:
            span.end(failure, rows)


async def _explain(
    plane: DataPlane,
    entry: ServedVersion,
    request: InferRequest,
    context: RequestContext,
    span: ExplanationSpan | None,
) -> tuple[InferResponse, int]:
    """Return the answer, and how many rows were explained."""
    if entry.config.explain is None:
        raise Unsupported(
            f"model '{entry.name}' explains nothing: its model.yaml says `explain: null`"
        )
    if not entry.config.explained:
        raise Unsupported(
            f"model '{entry.name}' explains nothing: a method computes many variants of a row "
            f"together, and its model.yaml says that rows belong together (`batching.join`) or "
            f"declares an input without rows"
        )
    bound = entry.binder.bind(request)
    given = dict(request.parameters or {})
    meta = ExplainMeta(
        method=_parameter(given, "method", str),
        target=given.get("target"),
        baseline=_parameter(given, "baseline", str),
        effort={
            name: wanted
            for name in effort_names()
            if (wanted := _parameter(given, name, int)) is not None
        },
        timeout_s=_time_left(
            entry.config.explain, given.get("timeout", 0), context.time_left(time.monotonic())
        ),
        traceparent=_traceparent(entry, context, span),
    )
    if meta.target is not None and not isinstance(meta.target, int | str):
        raise InvalidInput("parameter target must be a class's index or name")
    tensors = [
        Tensor(input_name, entry.specs[input_name].datatype, array.shape, array)
        for input_name, array in zip(entry.binder.input_names, bound.arrays, strict=True)
    ]
    message = await plane.explainers.explain(entry.name, entry.version, meta, tensors)
    reply = _decode_reply(message.meta)
    parameters: dict[str, Any] = {
        "method": reply.method,
        "baseline": reply.baseline,
        **reply.effort,
        "target": ",".join(str(target) for target in reply.target),
    }
    version = reply.version or entry.version
    tensors_out = tuple(message.tensors)
    return InferResponse(entry.name, version, request.id, tensors_out, parameters), bound.rows


def _time_left(configured: Explain, microseconds: object, timeout_s: float | None) -> float:
    """Return the seconds that an explanation may take, waiting for others included."""
    allowed = configured.max_seconds
    asked = shorter(timeout_s, microseconds)
    return allowed if asked is None else min(allowed, asked)


def _traceparent(
    entry: ServedVersion, context: RequestContext, span: ExplanationSpan | None
) -> str:
    """Return the trace context for the server that the explainer may have to ask."""
    if span is not None:
        return span.traceparent
    return context.trace if entry.spans is None else entry.spans.context_without_span(context)


def _parameter(given: dict[str, Any], name: str, kind: type) -> Any:
    value = given.get(name)
    if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
        what = "a text" if kind is str else "a whole number"
        raise InvalidInput(f"parameter {name} must be {what}")
    return value
