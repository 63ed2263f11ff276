"""How each domain error is answered: one table for HTTP, one for gRPC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import orjson

from serving import errors

# Numbers of grpc.StatusCode, written out so that the HTTP half never imports grpc.
CANCELLED: Final = 1
INVALID_ARGUMENT: Final = 3
DEADLINE_EXCEEDED: Final = 4
NOT_FOUND: Final = 5
PERMISSION_DENIED: Final = 7
RESOURCE_EXHAUSTED: Final = 8
FAILED_PRECONDITION: Final = 9
UNIMPLEMENTED: Final = 12
INTERNAL: Final = 13
UNAVAILABLE: Final = 14
UNAUTHENTICATED: Final = 16

_NAMES: Final = {
    0: "OK",
    CANCELLED: "CANCELLED",
    INVALID_ARGUMENT: "INVALID_ARGUMENT",
    DEADLINE_EXCEEDED: "DEADLINE_EXCEEDED",
    NOT_FOUND: "NOT_FOUND",
    PERMISSION_DENIED: "PERMISSION_DENIED",
    RESOURCE_EXHAUSTED: "RESOURCE_EXHAUSTED",
    FAILED_PRECONDITION: "FAILED_PRECONDITION",
    UNIMPLEMENTED: "UNIMPLEMENTED",
    INTERNAL: "INTERNAL",
    UNAVAILABLE: "UNAVAILABLE",
    UNAUTHENTICATED: "UNAUTHENTICATED",
}

_HTTP: Final[Mapping[type[BaseException], int]] = {
    errors.InvalidInput: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.ModelNotFound: 404,
    errors.VersionNotFound: 404,
    errors.NotFound: 404,
    errors.VersionGone: 409,
    errors.NoLongerThere: 410,
    errors.PayloadTooLarge: 413,
    errors.UnsupportedMedia: 415,
    errors.GuardRejected: 422,
    errors.QuotaExceeded: 429,
    errors.Overloaded: 503,
    errors.ModelNotReady: 503,
    errors.DeadlineExceeded: 504,
    errors.Unsupported: 501,
    errors.ModelFailed: 500,
    errors.InternalError: 500,
    errors.ClientGone: 499,  # as others count it; nobody reads it
}

_GRPC: Final[Mapping[type[BaseException], int]] = {
    errors.InvalidInput: INVALID_ARGUMENT,
    errors.Unauthenticated: UNAUTHENTICATED,
    errors.Forbidden: PERMISSION_DENIED,
    errors.ModelNotFound: NOT_FOUND,
    errors.VersionNotFound: NOT_FOUND,
    errors.NotFound: NOT_FOUND,
    errors.VersionGone: FAILED_PRECONDITION,
    errors.NoLongerThere: NOT_FOUND,
    errors.PayloadTooLarge: RESOURCE_EXHAUSTED,
    errors.UnsupportedMedia: INVALID_ARGUMENT,
    errors.GuardRejected: FAILED_PRECONDITION,
    errors.QuotaExceeded: RESOURCE_EXHAUSTED,
    errors.Overloaded: UNAVAILABLE,
    errors.ModelNotReady: UNAVAILABLE,
    errors.DeadlineExceeded: DEADLINE_EXCEEDED,
    errors.Unsupported: UNIMPLEMENTED,
    errors.ModelFailed: INTERNAL,
    errors.InternalError: INTERNAL,
    errors.ClientGone: CANCELLED,
}


def http_status(error: errors.VigilError) -> int:
    """Return the HTTP status of `error`: its class's, else the nearest base's, else 500."""
    return _nearest(_HTTP, type(error), 500)


def grpc_status(error: errors.VigilError) -> int:
    """Return the gRPC status number of `error`, found as `http_status` does, else INTERNAL."""
    return _nearest(_GRPC, type(error), INTERNAL)


def grpc_status_name(kind: str) -> str:
    """Return the name of the gRPC status for a class of `serving/errors.py`, given by its name."""
    return _NAMES[_nearest(_GRPC, getattr(errors, kind, errors.InternalError), INTERNAL)]


def grpc_code_name(code: int) -> str:
    """Return the name of a gRPC status that answers here may have; 0 is OK."""
    return _NAMES[code]


def _nearest(
    table: Mapping[type[BaseException], int], error: type[BaseException], default: int
) -> int:
    for kind in error.__mro__:
        if kind in table:
            return table[kind]
    return default


def error_body(message: str) -> bytes:
    """Return the JSON body of an error answer; what is not valid Unicode in it is replaced."""
    return orjson.dumps({"error": message.encode("utf-8", "replace").decode("utf-8")})
