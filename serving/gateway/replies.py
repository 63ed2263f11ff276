"""HTTP answers before they are sent."""

from __future__ import annotations

import msgspec

from serving.errors import VigilError
from serving.protocol.status import error_body, http_status

JSON = (b"content-type", b"application/json")


class Reply(msgspec.Struct, frozen=True):
    """An HTTP answer: status, headers beside content-length, body."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


def json_reply(body: bytes) -> Reply:
    """Return a successful answer in JSON."""
    return Reply(200, [JSON], body)


def error_reply(error: VigilError) -> Reply:
    """Return the answer to a request that failed."""
    headers = [JSON]
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % max(1, round(error.retry_after_s))))
    return Reply(http_status(error), headers, error_body(error.message))
