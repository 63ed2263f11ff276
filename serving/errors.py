"""The domain's exceptions. They know no transport; each transport has one table for them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Final, Self

from serving.telemetry.logs.causes import Cause, describe, origin_of

_MOST_NAMES: Final = 10
_LONGEST_NAME: Final = 80


class VigilError(Exception):
    """Base of everything that may become an answer to a client.

    The message is one sentence that says what to change; it is shown to the client as it is.
    Control characters in it, which may be the client's own, are escaped: it stays one line.

    Attributes:
        cause: what it was made from, if its message quotes what others said, as a model's own
            exception. Then the message is for the client alone, and the log gets the cause.
        logged: whether the log has a line about it.
        batched: whether it came back with a batch, whose record tells of it.
    """

    cause: Cause | None = None
    logged: bool = False
    batched: bool = False

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        self.message = printable(message)
        super().__init__(self.message)
        self.retry_after_s = retry_after_s

    def anew(self, *, logged: bool = False) -> Self:
        """Return an error that says the same and has not been raised.

        Args:
            logged: whether the log has a line about it, or will have by its record.

        One that a future or task holds must not be raised to who handles the request: the frames
        it passes stay in its traceback, hold the request and its body, and through them the
        future, so that only a full garbage collection would free them.
        """
        error = type(self)(self.message, retry_after_s=self.retry_after_s)
        error.cause, error.logged = self.cause, self.logged or logged
        return error


def printable(text: str) -> str:
    """Return a text as one line that a terminal only shows: line ends and such are escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class InvalidInput(VigilError):
    """The request's shape, datatype, data, names or JSON is wrong."""


class Unauthenticated(VigilError):
    """No valid credentials came with the request."""


class Forbidden(VigilError):
    """The credentials do not allow this."""


class ModelNotFound(VigilError):
    """No model of that name is served."""


class VersionNotFound(VigilError):
    """The model is served, but not in that version."""


class NotFound(VigilError):
    """The path names nothing here."""


class NoLongerThere(VigilError):
    """It was there, and is kept no longer."""


class VersionGone(VigilError):
    """The version or revision that is meant answers no longer."""


class PayloadTooLarge(VigilError):
    """The body or message is over the limit."""


class UnsupportedMedia(VigilError):
    """The body's encoding is not one that the server reads."""


class GuardRejected(VigilError):
    """A guard with action `reject` refused a row of the request."""


class QuotaExceeded(VigilError):
    """This client has used up its quota."""


class Overloaded(VigilError):
    """The gateway takes no more work now."""


class QueueFull(Overloaded):
    """The model's queue is at its bound."""


class ModelNotReady(VigilError):
    """The model is known but not ready to answer."""


class NoReplica(ModelNotReady):
    """No replica of the model is alive."""


class Unreachable(NoReplica):
    """The model is on another server, and nobody answers there."""


class UpstreamDenied(ModelNotReady):
    """The model is on another server, which does not take the credentials it gets from here.

    Attributes:
        forbidden: whether it knows who asks, and does not allow it.
    """

    forbidden: bool = False


class DeadlineExceeded(VigilError):
    """The request's deadline passed before an answer was there."""


class ClientGone(VigilError):
    """The client went away before the answer; nobody reads this."""


class Unsupported(VigilError):
    """The protocol or the model does not offer this."""


class ModelFailed(VigilError):
    """The model itself raised; its message is kept for the client, its traceback for the log."""


class LoadFailed(ModelFailed):
    """A model could not be loaded into the running server; what served before goes on."""


class InternalError(VigilError):
    """Something unforeseen went wrong here; the log has it, and the client hears no more of it."""


def named(
    kind: str, message: str, retry_after_s: float | None = None, cause: Cause | None = None
) -> VigilError:
    """Return the error whose class is called `kind`; `ModelFailed` when there is none such."""
    found = globals().get(kind)
    if not (isinstance(found, type) and issubclass(found, VigilError)):
        found = ModelFailed
    error: VigilError = found(message, retry_after_s=retry_after_s)
    error.cause = cause
    return error


def cause_of(failed: VigilError) -> Cause | None:
    """Return what the log may tell of an error that replaces another; None: its own message."""
    if failed.cause is not None:
        return failed.cause
    origin = origin_of(failed)
    return None if origin is None else describe(origin)


def listed(names: Iterable[object], otherwise: str = "none") -> str:
    """Return the first 10 of `names` for a message, each cut to 80 characters."""
    found = list(islice(names, _MOST_NAMES + 1))
    shown = ", ".join([f"'{str(name)[:_LONGEST_NAME]}'" for name in found[:_MOST_NAMES]])
    return (shown or otherwise) + (", …" if len(found) > _MOST_NAMES else "")


def unknown_model(name: str) -> ModelNotFound:
    """The error for an unknown model, with the start that Triton's clients look for."""
    return ModelNotFound(f"Request for unknown model: '{name}' is not found")
