"""A model's example: a request in a file, in any form in which a client may send one."""

from __future__ import annotations

import json

from serving.protocol.json.codec import decode_request
from serving.protocol.messages import InferRequest

_IDENT = "example"
_read_first = json.JSONDecoder().raw_decode


def decode_example(
    content: bytes, model_name: str, model_version: str, request_id: str = _IDENT
) -> InferRequest:
    """Return the request in `content`.

    That is JSON, JSON with binary tensors behind it as in a body over HTTP, or the bytes of a
    gRPC ModelInferRequest. An id in it wins over `request_id`.

    Raises:
        InvalidInput: it is none of them, or not a request that the protocol allows.
    """
    if content.lstrip()[:1] != b"{":
        # Here, because processes that fork others load no protobuf if they can help it.
        from serving.protocol.grpc import codec as grpc_codec

        return grpc_codec.decode_request(content, request_id)
    length = _json_length(content)
    return decode_request(content, length, model_name, model_version, request_id)


def _json_length(content: bytes) -> int | None:
    """Return the length of the JSON at the beginning; None where nothing else follows."""
    text = content.decode("latin-1")  # one character per byte, whatever follows
    start = len(text) - len(text.lstrip())
    try:
        _, end = _read_first(text, start)
    except (ValueError, RecursionError):
        return None  # whoever reads it says what is wrong
    return end if text[end:].strip() else None
