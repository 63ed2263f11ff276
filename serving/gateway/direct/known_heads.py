"""What heads of requests say, once they have been read.

Values only, apart from those who read them: structs stay interpreted where their readers are
compiled.
"""

from __future__ import annotations

import msgspec

from serving.gateway.direct.fields import BLANKS

Fields = list[tuple[bytes, bytes]]


class BadHead(Exception):
    """A head that is refused: the status of the answer, and what to change."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


class Steady(msgspec.Struct, frozen=True):
    """What heads of one shape have in common.

    Attributes:
        method: as sent.
        path: decoded and normalised, without the query.
        query: as sent, without the question mark.
        version: `1.0` or `1.1`.
        headers: names in lower case, values without blanks around them; None for a value that
            each head has for itself.
    """

    method: str
    path: str
    query: bytes
    version: str
    headers: list[tuple[bytes, bytes | None]]


class KnownHead(msgspec.Struct, frozen=True):
    """A request's head in either protocol: what it shares with others, and what is its own.

    Attributes:
        steady: what it shares with others.
        values: of its headers that `steady` leaves open, in their order.
    """

    steady: Steady
    values: list[bytes]

    @property
    def method(self) -> str:
        """As sent."""
        return self.steady.method

    @property
    def path(self) -> str:
        """Decoded and normalised, without the query."""
        return self.steady.path

    @property
    def query(self) -> bytes:
        """As sent, without the question mark."""
        return self.steady.query

    @property
    def headers(self) -> Fields:
        """Names in lower case, values without blanks around them; made for who asks."""
        return filled(self.steady.headers, self.values)


class Head(KnownHead, frozen=True):
    """What a request's head says.

    Attributes:
        length: bytes of the body; None when it comes in chunks.
        keep_alive: whether the connection may carry another request.
        expects: whether the client waits for `100 Continue` before it sends the body.
        forwarded: `x-forwarded-for`, as sent.
        infer: model and version of an inference request, for the quick path; else None.
    """

    length: int | None
    keep_alive: bool
    expects: bool
    forwarded: str = ""
    infer: InferHead | None = None

    @property
    def version(self) -> str:
        """`1.0` or `1.1`."""
        return self.steady.version


class InferHead(msgspec.Struct, frozen=True):
    """What the head of an inference request says beside its body.

    Attributes:
        packs: whether its client likes a compressed answer better.
        trace: `traceparent`, as sent; empty without one.
        credential: what says who asks, as sent; empty without one.
    """

    model: str
    version: str
    json_length: str | None
    request_id: str | None
    packs: bool
    trace: bytes = b""
    credential: bytes = b""


class Head2(KnownHead, frozen=True):
    """What a block of headers says; the authority is header `host`.

    Attributes:
        length: what content-length says; -1 without one.
        grpc: whether it is a gRPC call.
        infer: a plain ModelInfer call, for the quick path.
        timeout_s: the call's deadline in seconds from now; None without one, -1 when it is none.
        problem: set when the path cannot be read or the client is not let in; the answer is this.
        forwarded: `x-forwarded-for`, as sent.
        trace: `traceparent`, as sent; empty without one.
        credential: what says who asks, as sent; empty without one.
    """

    length: int
    grpc: bool
    infer: bool
    timeout_s: float | None
    problem: BadHead | None
    forwarded: str = ""
    trace: bytes = b""
    credential: bytes = b""


def filled(headers: list[tuple[bytes, bytes | None]], values: list[bytes]) -> Fields:
    """Return headers with their open values filled in."""
    each = iter(values)
    return [(name, next(each).strip(BLANKS) if v is None else v) for name, v in headers]
