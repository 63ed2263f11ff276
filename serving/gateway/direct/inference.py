"""The quick path of inference: bytes to an admitted request, and its answer to bytes."""

from __future__ import annotations

from typing import Final

from serving import errors
from serving.access.scopes import Scope
from serving.dataplane.context import NO_CONTEXT, RequestContext
from serving.dataplane.endpoint import Ticket
from serving.gateway.direct.known_heads import InferHead
from serving.gateway.direct.state import ServerState
from serving.gateway.http.inference import raw_request
from serving.gateway.internal_errors import client_error
from serving.protocol.json.codec import encode_response, parse_json_length
from serving.protocol.messages import Tensor

JSON: Final = b"content-type: application/json\r\n"
OCTETS: Final = b"content-type: application/octet-stream\r\n"

_INFER: Final = Scope.INFER  # a member is looked up by a call


def begin(
    state: ServerState, head: InferHead, body: bytes | memoryview, context: RequestContext
) -> Ticket:
    """Decode, check and admit one request.

    Raises:
        VigilError: it is refused.
    """
    refused = state.access.decide(_INFER, head.model, context.principal)
    if refused is not None:
        raise refused
    json_length = None
    if head.json_length is not None:
        json_length = parse_json_length(head.json_length, len(body))
    if json_length == 0:
        request = raw_request(state.plane, body, head.model, head.version, head.request_id)
    else:
        request = state.json_requests.read(
            body, json_length, head.model, head.version, head.request_id
        )
    return state.plane.begin(request, context)


def unwritten(ticket: Ticket, error: Exception, path: str) -> errors.VigilError:
    """Log that there is no answer, and return what the client is told."""
    # Of an endpoint nothing is known but that it settles requests.
    context: RequestContext = getattr(ticket.item, "context", NO_CONTEXT)
    return client_error(
        error,
        "an answer could not be written",
        model=ticket.endpoint.name,
        version=ticket.endpoint.version,
        request_id=ticket.request.id,
        path=path,
        span=context.span,
        traceparent=context.traceparent,
    )


def receive_buffer(state: ServerState, head: InferHead, length: int) -> memoryview | None:
    """Return memory for a long body where its tensors need not be copied again, if there is."""
    text = head.json_length or ""
    skip = int(text[-9:]) if text.isascii() and text.isdigit() else 0
    try:
        batcher = state.plane.served_version(head.model, head.version).batcher
        return batcher.dispatcher.receive_buffer(length, skip)
    except errors.VigilError:
        return None  # it will be refused when it is whole


def answer(state: ServerState, ticket: Ticket) -> tuple[bytes, bytes, tuple[Tensor, ...]]:
    """Return header lines and body for a request that is done, and what is binary in the body.

    Raises:
        VigilError: it failed.
    """
    request = ticket.request
    response = ticket.endpoint.finish(ticket)
    body, json_part = encode_response(response, request)
    headers = JSON
    binary: tuple[Tensor, ...] = ()
    if json_part is not None:
        binary = response.outputs
        headers = OCTETS + b"inference-header-content-length: %d\r\n" % json_part
    ident = request.id
    # A header must not carry what could end it.
    if ident.isascii() and ident.isprintable():
        headers += b"x-request-id: %b\r\n" % ident.encode()
    return headers, body, binary
