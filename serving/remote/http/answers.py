"""What an HTTP response is to the wire: an answer, or the error that it stands for."""

from __future__ import annotations

from serving.errors import InvalidInput
from serving.protocol.json.codec import parse_json_length
from serving.remote.failures import of_http
from serving.remote.wire import Answer, unreadable

_OK = 200


def whole_answer(status: int, body: bytes, length: str | None) -> Answer:
    """Return the answer of a server that has given one.

    Args:
        status: of HTTP.
        body: whole, and not compressed any more.
        length: value of Inference-Header-Content-Length, if it is there.

    Raises:
        VigilError: the server has refused, or `length` is no length of this body.
    """
    if status != _OK:
        raise of_http(status, body)
    if length is None:
        return Answer(body)
    try:
        return Answer(body, parse_json_length(length, len(body)))
    except InvalidInput as error:
        raise unreadable("answer", error) from None
