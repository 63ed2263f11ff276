"""What every wire (gRPC, HTTP) can say to another server. Nothing here sends anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from serving.channel.messages.inference import Passthrough
from serving.errors import ModelFailed, VigilError
from serving.protocol.messages import Parameters, Tensor
from serving.protocol.metadata import ModelMetadata
from serving.telemetry.logs.causes import Cause

NOTHING = Passthrough({}, {})
"""Nothing to pass on beside the tensors."""

MAX_MESSAGE = 500


class UpstreamCall(msgspec.Struct, frozen=True):
    """A request: where to, what, and headers or metadata. Without a `body` it is an HTTP GET."""

    path: str
    body: bytes | None = None
    headers: dict[str, str] = {}


def within(call: UpstreamCall, traceparent: str) -> UpstreamCall:
    """Return a call that tells the server of the trace that it belongs to; empty: of none."""
    if not traceparent:
        return call
    return UpstreamCall(call.path, call.body, {**call.headers, "traceparent": traceparent})


def by(call: UpstreamCall, credential: str) -> UpstreamCall:
    """Return a call that tells the server who asks; empty: whoever we are."""
    if not credential:
        return call
    return UpstreamCall(call.path, call.body, {**call.headers, "authorization": credential})


class Answer(msgspec.Struct, frozen=True):
    """What came back: the body, and the length of its JSON part where binary data follows it."""

    body: bytes
    json_length: int | None = None


Answered = Callable[[Answer | VigilError], None]
"""Gets what came back for a call, or why nothing did, once. It must not raise."""


class Inferred(msgspec.Struct, frozen=True):
    """The outputs, each with its parameters, and what the answer says of itself.

    Attributes:
        tensors: the outputs.
        parameters: the answer's own.
        version: of the model that gave it; empty where the server tells none.
    """

    tensors: list[Tensor]
    parameters: Parameters
    version: str = ""


class Listed(msgspec.Struct, frozen=True):
    """A model version in another server's index; `state` is empty when the server tells none."""

    name: str
    version: str = ""
    state: str = ""
    reason: str = ""


class Told(msgspec.Struct, frozen=True):
    """What Triton's model configuration tells beyond the metadata.

    Attributes:
        max_batch_size: largest batch; 0: the first axis is no batch axis.
        optional: names of the inputs that requests may leave out.
        stateful: requests are steps of sequences.
        decoupled: one request may have several answers, or none.
    """

    max_batch_size: int = 0
    optional: tuple[str, ...] = ()
    stateful: bool = False
    decoupled: bool = False


class Wire(Protocol):
    """Makes calls and reads their answers. Whatever it cannot read raises `ModelFailed`."""

    def infer(
        self, model: str, version: str, forward: Passthrough, inputs: Sequence[Tensor]
    ) -> UpstreamCall:
        """Ask for an inference."""

    def read_infer(self, answer: Answer) -> Inferred:
        """Return the outputs; numbers are views on the answer where the wire allows it."""

    def ready(self, model: str, version: str) -> UpstreamCall:
        """Ask whether a model is ready."""

    def read_ready(self, answer: Answer) -> bool:
        """Return whether it is."""

    def metadata(self, model: str, version: str) -> UpstreamCall:
        """Ask for a model's inputs and outputs."""

    def read_metadata(self, answer: Answer) -> ModelMetadata:
        """Return them; a server may tell none."""

    def index(self) -> UpstreamCall:
        """Ask which models there are (the extension `model_repository`)."""

    def read_index(self, answer: Answer) -> list[Listed]:
        """Return them."""

    def config(self, model: str, version: str) -> UpstreamCall:
        """Ask for Triton's model configuration."""

    def read_config(self, answer: Answer) -> Told:
        """Return what matters of it."""


def scalars(parameters: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return those of a server's parameters that the protocol allows: scalars of 64 bits."""
    return {
        name: value
        for name, value in (parameters or {}).items()
        if isinstance(value, bool | float | str)
        or (isinstance(value, int) and -(2**63) <= value < 2**64)
    }


def unreadable(what: str, error: Exception) -> VigilError:
    """Return the error for an answer that is not what the protocol says."""
    text = " ".join(str(error).split())[:MAX_MESSAGE]
    failed = ModelFailed(f"the upstream server's {what} cannot be read: {text}")
    told = f"the upstream server's {what} cannot be read ({type(error).__name__})"
    failed.cause = Cause("upstream answer", told=told)  # the text may quote the answer
    return failed
