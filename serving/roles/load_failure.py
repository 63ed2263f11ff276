"""A role that cannot load its model tells the log and the control plane why before it ends."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import traceback
from typing import Final, Literal

from serving.channel.connection import ChannelClosed
from serving.channel.endpoint import connect
from serving.channel.messages.control import FAILED, FailedMeta
from serving.channel.messages.directory import ServedModel
from serving.errors import ModelFailed, VigilError
from serving.telemetry.logs.causes import origin_of
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report

PATIENCE_S: Final = 3.0
MOST_CHARACTERS: Final = 500


def tell_failed(
    served: ServedModel,
    error: BaseException,
    registry_address: str,
    secret: bytes | None,
    role: Literal["replica", "explainer"] = "replica",
) -> None:
    """Tell that `served` could not be loaded; blocks for a bounded time, never raises."""
    log_load_failure(served, error)
    reason = " ".join(str(error).split())[:MOST_CHARACTERS] or type(error).__name__
    meta = FailedMeta(served.name, served.version, served.revision, reason, role)

    async def tell() -> None:
        with contextlib.suppress(ChannelClosed):
            connection = await connect(registry_address, secret)
            connection.notify(FAILED, meta)
            connection.close()
            while not connection.closed:  # noqa: ASYNC110 - written out, then lost; no event for it
                await asyncio.sleep(0.005)

    # In a thread of its own, because the caller's may run a loop already.
    thread = threading.Thread(target=lambda: asyncio.run(tell()), name="last-words", daemon=True)
    thread.start()
    thread.join(PATIENCE_S)


def log_load_failure(served: ServedModel, error: BaseException) -> None:
    """Log that a role could not load its model, in the words of Vigil, not of the model."""
    origin = origin_of(error)
    sentence = "a model could not be loaded"
    # What a model's own code says may hold values; a sentence about its files does not.
    own = isinstance(error, ModelFailed) or _passed_through(origin, served.directory)
    cause = error.cause if isinstance(error, VigilError) else None
    if cause is not None:
        sentence += f": {cause.told}" if cause.told else ""
    elif isinstance(error, VigilError) and (origin is None or not own):
        sentence += f": {error.message}"
    report(
        Event.MODEL_LOAD_FAILED,
        sentence,
        model=served.name,
        version=served.version,
        error=error if origin is None else origin,
        cause=cause,
    )


def _passed_through(error: BaseException | None, directory: str) -> bool:
    """Whether code in a folder raised an exception, or called what did."""
    if error is None:
        return False
    folder = f"{directory.rstrip('/')}/"
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_code.co_filename.startswith(folder) for frame, _ in frames)
