"""The domain's errors as records tell them."""

from __future__ import annotations

from typing import Final

from serving.dataplane.hooks.records import Failure
from serving.errors import (
    ClientGone,
    DeadlineExceeded,
    GuardRejected,
    InvalidInput,
    ModelNotReady,
    Overloaded,
    PayloadTooLarge,
    VigilError,
)
from serving.protocol.status import http_status
from serving.telemetry.outcomes import (
    OUTCOME_ABANDONED,
    OUTCOME_DEADLINE,
    OUTCOME_FAILED,
    OUTCOME_INVALID,
    OUTCOME_OVERLOADED,
    OUTCOME_REJECTED,
    OUTCOME_UNAVAILABLE,
)

_OUTCOME_OF: Final[dict[type[BaseException], str]] = {
    ClientGone: OUTCOME_ABANDONED,
    InvalidInput: OUTCOME_INVALID,
    PayloadTooLarge: OUTCOME_INVALID,
    GuardRejected: OUTCOME_REJECTED,
    Overloaded: OUTCOME_OVERLOADED,
    DeadlineExceeded: OUTCOME_DEADLINE,
    ModelNotReady: OUTCOME_UNAVAILABLE,
}


def outcome_of(error: BaseException) -> str:
    """Return what a request counts as that was answered with `error`: its class, or a base."""
    known = _OUTCOME_OF.get(type(error))
    if known is not None:
        return known
    bases = (_OUTCOME_OF[base] for base in type(error).__mro__ if base in _OUTCOME_OF)
    return next(bases, OUTCOME_FAILED)


def failure_of(error: VigilError) -> Failure:
    """Return an error as a value, which holds no traceback."""
    return Failure(
        type(error).__name__,
        outcome_of(error),
        http_status(error),
        error.message,
        error.cause,
        error.logged,
    )
