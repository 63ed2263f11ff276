"""Inference bodies over HTTP, and their answers: JSON, binary tensors and raw requests."""

from __future__ import annotations

from serving.dataplane.context import RequestContext
from serving.dataplane.handler import DataPlane
from serving.gateway import metadata
from serving.gateway.http.compression import pays
from serving.gateway.http.headers import Headers
from serving.gateway.http.replies import JSON, Reply
from serving.protocol.json.codec import (
    decode_raw_request,
    decode_request,
    encode_response,
    parse_json_length,
)
from serving.protocol.messages import InferRequest, InferResponse

_OCTETS = (b"content-type", b"application/octet-stream")


async def infer(
    plane: DataPlane,
    headers: Headers,
    body: bytes,
    name: str,
    version: str,
    context: RequestContext,
) -> Reply:
    """Answer one inference.

    `context` is as for `DataPlane.infer`.

    Raises:
        VigilError: whatever went wrong, as the domain's exception.
    """
    request = read_request(plane, headers, body, name, version)
    return reply(request, await plane.infer(request, context))


def read_request(
    plane: DataPlane, headers: Headers, body: bytes, name: str, version: str
) -> InferRequest:
    """Return the request of an infer body in whichever of its three forms.

    Raises:
        VigilError: it is wrong.
    """
    header_id = headers.get(b"x-request-id")
    given_id = None if header_id is None else header_id.decode("latin-1")
    json_length: int | None = None
    length = headers.get(b"inference-header-content-length")
    if length is not None:
        json_length = parse_json_length(length.decode("latin-1"), len(body))
    if json_length == 0:
        return raw_request(plane, body, name, version, given_id)
    return decode_request(body, json_length, name, version, given_id)


def reply(request: InferRequest, response: InferResponse) -> Reply:
    """Return the answer in the form that the request asks for.

    Raises:
        InvalidInput: as for `encode_response`.
    """
    content, json_part = encode_response(response, request)
    answer = [JSON] if json_part is None else [
        _OCTETS, (b"inference-header-content-length", b"%d" % json_part),
    ]  # fmt: skip
    ident = request.id
    # A header must not carry what could end it; ids are bounded by the codec.
    if ident.isascii() and ident.isprintable():
        answer.append((b"x-request-id", ident.encode()))
    packs = pays(len(content), () if json_part is None else response.outputs)
    return Reply(200, answer, content, packs)


def raw_request(
    plane: DataPlane, body: bytes | memoryview, name: str, version: str, header_id: str | None
) -> InferRequest:
    """Decode a body that is nothing but one tensor's elements.

    Raises:
        VigilError: it does not fit the model.
    """
    entry = plane.resolve(name, version)
    inputs = [
        metadata.tensor_metadata(entry.config, spec)
        for spec in entry.config.inputs
        if not spec.sensitive
    ]
    return decode_raw_request(
        body, inputs, name, version, header_id, row_axis=entry.config.row_axis
    )
