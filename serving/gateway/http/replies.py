"""HTTP answers before they are sent."""

from __future__ import annotations

import msgspec

from serving.errors import VigilError
from serving.gateway.http.compression import choose, pack
from serving.protocol.status import error_body, http_status

JSON = (b"content-type", b"application/json")


class Reply(msgspec.Struct, frozen=True):
    """An HTTP answer: status, headers beside content-length, body.

    `packs`: whether it is compressed for a client that likes that better. Only inference answers
    are: clients that read those compressed do not read everything else so (tritonclient's asyncio
    client, for one).
    """

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    packs: bool = False


def json_reply(body: bytes) -> Reply:
    """Return a successful answer in JSON."""
    return Reply(200, [JSON], body)


def error_reply(error: VigilError) -> Reply:
    """Return the answer to a request that failed, whichever ingress writes it.

    `retry-after` is in whole seconds, at least one (RFC 9110, section 10.2.3).
    """
    reply = sentence_reply(http_status(error), error.message)
    if error.retry_after_s is not None:
        reply.headers.append((b"retry-after", b"%d" % max(1, round(error.retry_after_s))))
    return reply


def sentence_reply(status: int, sentence: str, *more: tuple[bytes, bytes]) -> Reply:
    """Return an answer that says what is wrong, for a status that HTTP alone knows, as 405.

    Args:
        status: of HTTP.
        sentence: what to change.
        more: headers beside `content-type`.
    """
    return Reply(status, [JSON, *more], error_body(sentence))


async def packed_reply(reply: Reply, accepted: bytes) -> Reply:
    """Return the answer as its `Accept-Encoding` wants it: compressed where that pays.

    A client that says that it takes no plain answer gets whatever it is compressed. When nothing
    that it takes is offered here, it gets the plain answer: that is of more use than an error.
    """
    encoding, plain_allowed = choose(accepted)
    if not reply.body or (not reply.packs and (plain_allowed or encoding is None)):
        return reply
    # Left out when the client says nothing: a cache may give its plain answer to everybody.
    headers = [*reply.headers, (b"vary", b"accept-encoding")]
    if encoding is not None:
        packed = await pack(reply.body, encoding, even_if_larger=not plain_allowed)
        if packed is not None:
            headers.append((b"content-encoding", encoding.encode()))
            return Reply(reply.status, headers, packed)
    return Reply(reply.status, headers, reply.body)
