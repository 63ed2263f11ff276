"""Clients of another server: a blocking one for the command line and for models that are asked at
leisure, and one for replicas, which ask many questions at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from serving.channel.messages.inference import Passthrough
from serving.errors import ModelNotReady, VigilError
from serving.protocol.json.data import UNREADABLE
from serving.protocol.messages import Tensor
from serving.protocol.metadata import ModelMetadata
from serving.remote.access import Access
from serving.remote.address import Address
from serving.remote.carriers import AsyncCarrier, open_async_carrier, open_carrier
from serving.remote.grpc.wire import GrpcWire
from serving.remote.http.wire import HttpWire
from serving.remote.pending import Asked, awaited
from serving.remote.wire import (
    NOTHING,
    Answer,
    Inferred,
    Listed,
    Told,
    UpstreamCall,
    Wire,
    by,
    unreadable,
    within,
)

BINARY = "binary_tensor_data"
_SERVER = UpstreamCall("/v2")

Inference = Callable[[Inferred | VigilError], None]
"""Gets the outputs of an inference, or why there are none, once. It must not raise."""


class _Server(msgspec.Struct):
    extensions: list[str] = []


def _http_wire(answer: Answer) -> HttpWire:
    try:
        told = msgspec.json.decode(answer.body, type=_Server)
    except UNREADABLE:
        raise ModelNotReady("what answers there does not speak the Open Inference Protocol") from (
            None
        )
    return HttpWire(binary=BINARY in told.extensions)


class Client:
    """Asks another server, one question at a time.

    Args:
        address: where it listens.
        timeout_s: longest wait for one answer.
        access: what it asks of its callers.

    Raises:
        VigilError: it cannot be reached, or does not speak the protocol.
    """

    def __init__(self, address: Address, timeout_s: float, access: Access | None = None) -> None:
        self.address = address
        self._timeout_s = timeout_s
        self._carrier = open_carrier(address, access or Access())
        try:
            self._wire: Wire = GrpcWire() if address.grpc else _http_wire(self._send(_SERVER))
        except VigilError:
            self._carrier.close()
            raise

    def _send(self, call: UpstreamCall) -> Answer:
        return self._carrier.send(call, self._timeout_s)

    def infer(
        self,
        model: str,
        version: str,
        inputs: Sequence[Tensor],
        forward: Passthrough = NOTHING,
        traceparent: str = "",
    ) -> Inferred:
        """Return the outputs for `inputs`, and what came with them."""
        call = within(self._wire.infer(model, version, forward, inputs), traceparent)
        return self._wire.read_infer(self._send(call))

    def ready(self, model: str, version: str) -> bool:
        """Return whether the model is ready."""
        return self._wire.read_ready(self._send(self._wire.ready(model, version)))

    def metadata(self, model: str, version: str) -> ModelMetadata:
        """Return the model's inputs and outputs."""
        return self._wire.read_metadata(self._send(self._wire.metadata(model, version)))

    def index(self) -> list[Listed]:
        """Return which models there are."""
        return self._wire.read_index(self._send(self._wire.index()))

    def config(self, model: str, version: str) -> Told:
        """Return what Triton's model configuration tells."""
        return self._wire.read_config(self._send(self._wire.config(model, version)))

    def close(self) -> None:
        """Close the connection."""
        self._carrier.close()


class AsyncClient:
    """Asks another server about one model, many questions at a time. Belongs to one loop.

    Args:
        address: where it listens; it need not be there yet.
        model, version: the model's name there; an empty version is the server's choice.
        timeout_s: longest wait for one answer.
        access: what it asks of its callers.
    """

    def __init__(
        self,
        address: Address,
        model: str,
        version: str,
        timeout_s: float,
        access: Access | None = None,
    ) -> None:
        self._address = address
        self._model = model
        self._version = version
        self._timeout_s = timeout_s
        self._carrier: AsyncCarrier = open_async_carrier(address, access or Access())
        self._wire: Wire | None = GrpcWire() if address.grpc else None

    @property
    def speaks(self) -> bool:
        """Whether it is known yet how the server is spoken to, so that `ask` may be called."""
        return self._wire is not None

    def ask(
        self,
        forward: Passthrough,
        inputs: Sequence[Tensor],
        callback: Inference,
        traceparent: str = "",
    ) -> Asked:
        """Ask for the outputs for `inputs`; `callback` gets them, or what `infer` would raise.

        It may be called before this returns. What is asked is on its way by then, without a task.
        `traceparent` is the W3C trace context that the server is told; empty: none.
        """
        assert self._wire is not None
        wire = self._wire

        def answered(answer: Answer | VigilError) -> None:
            if isinstance(answer, VigilError):
                callback(answer)
                return
            try:
                outcome: Inferred | VigilError = wire.read_infer(answer)
            except VigilError as error:
                outcome = error
            except Exception as error:  # noqa: BLE001 - whatever it was, who asked is told
                outcome = unreadable("answer", error)
            callback(outcome)

        call = within(wire.infer(self._model, self._version, forward, inputs), traceparent)
        call = by(call, forward.credential)
        return self._carrier.ask(call, self._timeout_s, answered)

    async def infer(
        self, forward: Passthrough, inputs: Sequence[Tensor], traceparent: str = ""
    ) -> Inferred:
        """Return the outputs for `inputs`, and the parameters that came with them.

        Raises:
            VigilError: the server refused, was too late, or cannot be reached.
        """
        await self._speak(forward.credential)
        return await awaited(lambda callback: self.ask(forward, inputs, callback, traceparent))

    async def _speak(self, credential: str = "") -> Wire:
        if self._wire is None:
            self._wire = _http_wire(await self._send(by(_SERVER, credential)))
        return self._wire

    async def _send(self, call: UpstreamCall) -> Answer:
        return await awaited(lambda callback: self._carrier.ask(call, self._timeout_s, callback))

    async def require_ready(self) -> ModelMetadata:
        """Return what the server tells of the model.

        Raises:
            VigilError: the model is not ready, or the server cannot be reached.
        """
        wire = await self._speak()
        ready = await self._send(wire.ready(self._model, self._version))
        if not wire.read_ready(ready):
            raise not_ready(self._address, self._model)
        return wire.read_metadata(await self._send(wire.metadata(self._model, self._version)))

    async def alive(self) -> bool:
        """Whether the server can be reached, as far as one can tell at little cost."""
        return await self._carrier.alive()

    async def close(self) -> None:
        """Close the connection."""
        await self._carrier.close()


def not_ready(address: Address, model: str) -> ModelNotReady:
    """Return the error for a model that its server says is not ready."""
    return ModelNotReady(
        f"the upstream server {address.url} says that model '{model}' is not ready",
        retry_after_s=1,
    )
