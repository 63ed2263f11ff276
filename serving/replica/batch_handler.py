"""What answers the batches that a replica is sent: a model here, or another server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from serving import errors
from serving.channel.busy_poll import BusyPoll
from serving.channel.connection import Connection
from serving.channel.frame_parts import Message
from serving.channel.messages.inference import ResultMeta
from serving.models.contract import Capabilities
from serving.protocol.messages import Tensor
from serving.telemetry.logs.causes import describe

Reply = tuple[ResultMeta, list[Tensor]]
"""What a batch is answered with."""


class BatchHandler(Protocol):
    """Answers batches. Belongs to the loop's thread, but for `load` and `busy_since`.

    Attributes:
        slots: batches that it takes at once.
        capabilities: of the model; known once it is loaded.
        batches: how many it has answered.
        busy_since: since when the model is at work on one, in monotonic seconds; None while idle.
    """

    slots: int
    capabilities: Capabilities
    batches: int
    busy_since: float | None

    def load(self) -> None:
        """Get ready to answer; blocks.

        Raises:
            ConfigError: files are missing, damaged or do not fit the configuration.
        """

    def start(self, busy_poll: BusyPoll) -> None:
        """Begin; `message` may be called from now on."""

    def message(self, connection: Connection, message: Message) -> None:
        """Answer a message over its connection, at once or later; never raises."""

    async def infer(self, message: Message) -> Reply:
        """Answer an `infer` message that came by another way than a connection.

        Raises:
            VigilError: the batch as a whole is refused.
        """

    async def drained(self) -> None:
        """Return once everything is answered that has been sent."""

    async def close(self) -> None:
        """Let go of what it holds."""


def tensors_of(outputs: Mapping[str, np.ndarray], datatypes: Mapping[str, str]) -> list[Tensor]:
    """Return outputs as the tensors of a reply."""
    return [Tensor(name, datatypes[name], array.shape, array) for name, array in outputs.items()]


def require_infer(message: Message) -> None:
    """Refuse whatever is no batch.

    Raises:
        Unsupported: it is none.
    """
    if message.kind != "infer":
        raise errors.Unsupported(f"a replica does not answer '{message.kind}'")


def told(error: BaseException) -> errors.VigilError:
    """Return what the gateway is told of a batch that failed as a whole."""
    if isinstance(error, errors.VigilError):
        return error
    failed = errors.ModelFailed(f"replica failed: {type(error).__name__}: {error}")
    failed.cause = describe(error)
    return failed
