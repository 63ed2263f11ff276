"""Settling requests, and the sentences of the batcher's own errors."""

from __future__ import annotations

from serving.dataplane.requests.pending import Pending
from serving.errors import (
    ClientGone,
    DeadlineExceeded,
    ModelFailed,
    ModelNotReady,
    NoReplica,
    PayloadTooLarge,
    QueueFull,
    VigilError,
)
from serving.telemetry.metrics.inference import (
    ABANDONED_DEADLINE,
    ABANDONED_DISCONNECT,
    ABANDONED_FAILED,
)


def settle(item: Pending, error: VigilError) -> None:
    """Answer a request with an error, unless it is answered already."""
    if item.timer is not None:
        item.timer.cancel()
    item.fail(error)


def abandoned_because(item: Pending) -> str:
    """Return why a request that waited is not computed any more, one of a closed set."""
    future = item.whole.item.future if item.whole is not None else item.future
    if not future.done() or future.cancelled():
        return ABANDONED_DISCONNECT
    error = future.exception()
    if isinstance(error, DeadlineExceeded):
        return ABANDONED_DEADLINE
    return ABANDONED_DISCONNECT if isinstance(error, ClientGone) else ABANDONED_FAILED


def no_replica(model: str) -> NoReplica:
    """Nobody is there who could compute it."""
    return NoReplica(f"no replica of model '{model}' is ready; retry later", retry_after_s=1)


def broken(model: str) -> ModelFailed:
    """It could not be sent, or its answer could not be read."""
    return ModelFailed(f"model '{model}' could not be asked; see the server's log")


def ends_replicas(model: str, how: str) -> ModelFailed:
    """It ended a replica; `how` is a clause whose subject that is."""
    return ModelFailed(
        f"the replica of model '{model}' that computed this request {how}; the request is not "
        "sent again: change it, or correct the model"
    )


def ends_again(model: str, how: str) -> ModelFailed:
    """The same inputs have ended a replica; `how` as above."""
    return ModelFailed(
        f"a replica of model '{model}' that computed the same inputs {how}; they are not computed "
        "again for a while: change them, or correct the model"
    )


def too_late(model: str) -> DeadlineExceeded:
    """The deadline has passed."""
    return DeadlineExceeded(f"the deadline passed before model '{model}' answered; allow more time")


def cannot_be_in_time(model: str, needed_s: float) -> DeadlineExceeded:
    """The deadline would pass before the answer."""
    return DeadlineExceeded(
        f"model '{model}' needs at least {needed_s * 1e3:.3g} ms for this request now, and its "
        "deadline is earlier; allow more time or retry later"
    )


def queue_full(model: str) -> QueueFull:
    """The queue is at its bound."""
    return QueueFull(f"the queue of model '{model}' is full; retry later", retry_after_s=1)


def too_large(model: str, rows: int, most: int) -> PayloadTooLarge:
    """It would not even fit into an empty queue."""
    return PayloadTooLarge(
        f"request has {rows} rows; model '{model}' takes at most {most} per request"
    )


def too_heavy(model: str, most_bytes: int) -> PayloadTooLarge:
    """Its bytes would not even fit into an empty queue."""
    return PayloadTooLarge(
        f"the inputs are larger than the queue of model '{model}', which holds "
        f"{most_bytes >> 20} MiB; send fewer rows per request"
    )


def several_versions(times: int) -> ModelNotReady:
    """Another server keeps changing the version between the parts of a request."""
    return ModelNotReady(
        "the upstream server answered the parts of this request by different versions of the "
        f"model, also when they were sent again ({times} times); retry when its roll-out is over, "
        "or send fewer rows",
        retry_after_s=1,
    )


def not_joined() -> ModelFailed:
    """The outputs of its parts do not fit together; the log has a line already."""
    error = ModelFailed("internal error; see the server's log")
    error.logged = True
    return error


def gone() -> ClientGone:
    """The client has left."""
    return ClientGone("the client went away before the answer")
