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
    NoReplica,
    Overloaded,
    PayloadTooLarge,
    QueueFull,
    VigilError,
)
from serving.protocol.status import http_status
from serving.telemetry import names

_OUTCOME_OF: Final[dict[type[VigilError], str]] = {
    ClientGone: names.OUTCOME_ABANDONED,
    InvalidInput: names.OUTCOME_INVALID,
    PayloadTooLarge: names.OUTCOME_INVALID,
    GuardRejected: names.OUTCOME_REJECTED,
    Overloaded: names.OUTCOME_OVERLOADED,
    QueueFull: names.OUTCOME_OVERLOADED,
    DeadlineExceeded: names.OUTCOME_DEADLINE,
    NoReplica: names.OUTCOME_UNAVAILABLE,
    ModelNotReady: names.OUTCOME_UNAVAILABLE,
}


def outcome_of(error: BaseException) -> str:
    """Return what a request counts as that was answered with `error`."""
    return _OUTCOME_OF.get(type(error), names.OUTCOME_FAILED)  # type: ignore[arg-type]


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
