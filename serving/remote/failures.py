"""What another server's refusal becomes here: its own message, and the nearest error of ours."""

from __future__ import annotations

from typing import Final

import msgspec

from serving import errors
from serving.protocol.json.data import UNREADABLE
from serving.remote.wire import MAX_MESSAGE
from serving.telemetry.logs.causes import Cause

_OF_GRPC: Final[dict[str, type[errors.VigilError]]] = {
    "INVALID_ARGUMENT": errors.InvalidInput,
    "OUT_OF_RANGE": errors.InvalidInput,
    "NOT_FOUND": errors.ModelNotFound,
    "RESOURCE_EXHAUSTED": errors.QuotaExceeded,
    "FAILED_PRECONDITION": errors.InvalidInput,
    "UNIMPLEMENTED": errors.Unsupported,
    "UNAVAILABLE": errors.ModelNotReady,
    "CANCELLED": errors.ModelNotReady,
    "DEADLINE_EXCEEDED": errors.DeadlineExceeded,
}
_OF_HTTP: Final[dict[int, type[errors.VigilError]]] = {
    400: errors.InvalidInput,
    404: errors.ModelNotFound,
    413: errors.PayloadTooLarge,
    422: errors.InvalidInput,
    429: errors.QuotaExceeded,
    501: errors.Unsupported,
    502: errors.ModelNotReady,
    503: errors.ModelNotReady,
    504: errors.DeadlineExceeded,
}

ROWS_MAY_BE_BAD: Final = (errors.InvalidInput, errors.ModelFailed)
"""Refusals that one row of a batch can be the reason of, while the others would be answered."""


class Refusal(msgspec.Struct):
    """The body of an HTTP error: OIP's `error`, or `detail` as FastAPI writes it."""

    error: object = None
    detail: object = None


def of_grpc(code: str, details: str | None) -> errors.VigilError:
    """Return the error for a gRPC status, `code` being its name."""
    if code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        return denied(code, forbidden=code == "PERMISSION_DENIED")
    kind = _OF_GRPC.get(code, errors.ModelFailed)
    return _said(kind, details, f"the upstream server answered {code}", code)


def of_http(status: int, body: bytes) -> errors.VigilError:
    """Return the error for an HTTP status and the body that came with it."""
    if status in (401, 403):
        return denied(f"status {status}", forbidden=status == 403)
    try:
        refusal = msgspec.json.decode(body, type=Refusal)
        told = refusal.error if refusal.error is not None else refusal.detail
    except UNREADABLE:
        told = None
    message = told if isinstance(told, str) or told is None else msgspec.json.encode(told).decode()
    kind = _OF_HTTP.get(status, errors.ModelFailed)
    said = f"the upstream server answered with status {status}"
    return _said(kind, message, said, f"status {status}")


def _said(
    kind: type[errors.VigilError], message: str | None, otherwise: str, code: str
) -> errors.VigilError:
    """Return an error with the other server's own words, which may quote values."""
    text = _short(message)
    error = kind(text or otherwise)
    if text:
        error.cause = Cause(f"upstream {code}", told=otherwise)
    return error


def denied(said: str, *, forbidden: bool = False) -> errors.UpstreamDenied:
    """Return the error for credentials that are not taken.

    They are ours, or a client's: see `of_client`. What the server says is not repeated, since it
    may repeat them.
    """
    error = errors.UpstreamDenied(
        f"the upstream server does not accept the credentials it gets ({said}); correct "
        f"remote.credentials"
    )
    error.forbidden = forbidden
    return error


def of_client(error: errors.VigilError, credential: str) -> errors.VigilError:
    """Return an error for the client whose own credential the server got; it is not repeated."""
    if isinstance(error, errors.UpstreamDenied):
        if error.forbidden:
            return errors.Forbidden("the upstream server does not allow this to who asks")
        return errors.Unauthenticated(
            "the upstream server does not accept the header 'authorization' of this request"
            if credential
            else "the upstream server wants to know who asks; send the header 'authorization'"
        )
    token = credential.rpartition(" ")[2]
    if token and token in error.message:
        clean = type(error)(error.message.replace(token, "…"), retry_after_s=error.retry_after_s)
        clean.cause = error.cause
        return clean
    return error


def untrusted(url: str) -> errors.Unreachable:
    """Return the error for a server whose certificate is not trusted, or that trusts not ours."""
    return errors.Unreachable(
        f"TLS with the upstream server {url} fails: one end does not trust the other's "
        f"certificate; correct remote.url or the files of remote.tls",
        retry_after_s=1,
    )


def unreachable(url: str) -> errors.Unreachable:
    """Return the error for a server that cannot be reached."""
    return errors.Unreachable(
        f"the upstream server {url} cannot be reached; start it, or correct remote.url",
        retry_after_s=1,
    )


def too_late(url: str, timeout_s: float) -> errors.DeadlineExceeded:
    """Return the error for a server that took longer than `remote.timeout_s`."""
    return errors.DeadlineExceeded(
        f"the upstream server {url} did not answer within {timeout_s:g} s (remote.timeout_s)"
    )


def _short(message: str | None) -> str:
    return " ".join((message or "").split())[:MAX_MESSAGE]
