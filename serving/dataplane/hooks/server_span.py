"""What a request's span is called and says of its transport, by OpenTelemetry's conventions.

https://opentelemetry.io/docs/specs/semconv/http/http-spans/ and .../rpc/grpc/.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

import msgspec

from serving.dataplane.context import GRPC, GRPC_STREAM, HTTP, RequestContext
from serving.dataplane.hooks.records import Failure
from serving.protocol.messages import InferRequest
from serving.protocol.status import grpc_status_name
from serving.telemetry.outcomes import OUTCOME_OK
from serving.telemetry.span import Attribute, Span
from serving.telemetry.trace_context import RequestSpan, SpanIds

Attributes = dict[str, Attribute]

_MODEL: Final = "/v2/models/{model_name}[/versions/{model_version}]"
_SERVICE: Final = "inference.GRPCInferenceService"
# Which statuses are a server's errors; of the others their clients are to blame.
GRPC_ERRORS: Final = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)
_NEVER_SENT: Final = 499


class Operation(msgspec.Struct, frozen=True):
    """What can be asked of a model.

    Attributes:
        verb: the last part of its path.
        methods: of gRPC, by transport.
    """

    verb: str
    methods: dict[str, str]

    @property
    def route(self) -> str:
        """The path by HTTP, with names in place of values."""
        return f"{_MODEL}/{self.verb}"

    def name(self, transport: str) -> str:
        """Return what its spans are called."""
        return f"POST {self.route}" if transport == HTTP else self.methods.get(transport, self.verb)


INFER: Final = Operation(
    "infer", {GRPC: f"{_SERVICE}/ModelInfer", GRPC_STREAM: f"{_SERVICE}/ModelStreamInfer"}
)
EXPLAIN: Final = Operation("explain", {GRPC: "vigil.Explain/Explain"})


def in_span(
    context: RequestContext, ids: SpanIds, request: InferRequest, operation: Operation = INFER
) -> RequestContext:
    """Return the context of a request that is traced."""
    path = ""
    if context.transport == HTTP:
        version = f"/versions/{quote(request.model_version)}" if request.model_version else ""
        path = f"/v2/models/{quote(request.model_name, safe='')}{version}/{operation.verb}"
    span = RequestSpan(ids.trace, ids.span, ids.parent, path)
    return msgspec.structs.replace(context, span=span)


def server_span(
    context: RequestContext,
    start_ns: int,
    end_ns: int,
    failure: Failure | None,
    attributes: Attributes,
    links: tuple[SpanIds, ...] = (),
    operation: Operation = INFER,
) -> Span:
    """Return the span of a request whose context has one.

    Args:
        context: what the request came with.
        start_ns, end_ns: nanoseconds since the epoch.
        failure: what the client was told; None: an answer.
        attributes: those that any transport has; the transport's are added.
        links: spans that worked for it in other traces.
        operation: what was asked.
    """
    assert context.span is not None
    failed = _add_transport(attributes, context.transport, context.span, failure, operation)
    attributes["vigil.outcome"] = OUTCOME_OK if failure is None else failure.outcome
    if failure is not None and failed:
        attributes["error.type"] = failure.kind
    return Span(
        operation.name(context.transport),
        context.span,
        start_ns,
        end_ns,
        attributes,
        "server" if context.transport else "internal",
        bool(context.span.parent),
        links,
        failed,
    )


def _add_transport(
    attributes: Attributes,
    transport: str,
    span: RequestSpan,
    failure: Failure | None,
    operation: Operation,
) -> bool:
    """Add what the transport's conventions say; return whether it is the server's error."""
    status = 200 if failure is None else failure.status
    if transport == HTTP:
        attributes["http.request.method"] = "POST"
        attributes["http.route"] = operation.route
        attributes["url.path"] = span.path
        attributes["url.scheme"] = "http"
        if status != _NEVER_SENT:
            attributes["http.response.status_code"] = status
    elif method := operation.methods.get(transport):
        code = "OK" if failure is None else grpc_status_name(failure.kind)
        attributes["rpc.system.name"] = "grpc"
        attributes["rpc.method"] = method
        attributes["rpc.response.status_code"] = code
        return code in GRPC_ERRORS
    return status >= 500
