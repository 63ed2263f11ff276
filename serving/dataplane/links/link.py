"""Links: how a gateway hands a batch to a replica. The batcher sees only this small interface."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec

from serving.channel import frames
from serving.channel.arena import LARGE
from serving.channel.connection import ChannelClosed, Connection
from serving.channel.frame_parts import Message, Parts
from serving.channel.messages.inference import BatchMeta, BatchResult, ResultMeta
from serving.config import InputSpec
from serving.dataplane.requests.batch import Batch
from serving.protocol.messages import Tensor

_decode_result = msgspec.msgpack.Decoder(ResultMeta).decode


class ReplicaLost(Exception):
    """The replica went away with the batch; it may or may not have been computed.

    Attributes:
        begun: whether the replica was at work on this batch; None where nobody can say.
        busy_s: for how many seconds, if it was.
        link_lost: whether the link is of no use any more; false where others answer behind it.
    """

    def __init__(
        self,
        ident: str,
        begun: bool | None = None,
        busy_s: float = 0.0,
        *,
        link_lost: bool = True,
    ) -> None:
        super().__init__(ident)
        self.begun = begun
        self.busy_s = busy_s
        self.link_lost = link_lost


class ReplicaLink(Protocol):
    """One replica (or one pool of them) that takes batches. Belongs to the loop's thread.

    Attributes:
        id: name of the replica.
        slots: batches it takes at once.
        busy: batches it holds now; counted by the batcher.
        rows: rows it holds now; counted by the batcher.
    """

    id: str
    slots: int
    busy: int
    rows: int

    @property
    def open(self) -> bool:
        """Whether new batches may be sent."""

    def send(self, batch: Batch) -> Awaitable[BatchResult]:
        """Send a batch.

        Raises (when awaited):
            ReplicaLost: the replica is gone.
            VigilError: the replica refused the batch as a whole.
        """


def unjoined(batch: Batch, specs: dict[str, InputSpec]) -> list[Tensor | Parts] | None:
    """Return the inputs of a batch of large requests in parts, so that shared memory joins them.

    None when there is one request only, when somebody has joined them already, or when they are
    small: then to join them is quicker.
    """
    if batch.items[0].bound.arrays[0].nbytes < LARGE:
        return None
    parts = batch.parts()
    if parts is None:
        return None
    tensors: list[Tensor | Parts] = []
    for name, arrays in zip(batch.names, parts, strict=True):
        datatype = specs[name].datatype
        if datatype == "BYTES":
            return None
        tensors.append(Parts(name, datatype, (batch.total, *arrays[0].shape[1:]), arrays))
    return tensors


def batch_tensors(batch: Batch, specs: dict[str, InputSpec]) -> list[Tensor]:
    """Return the joined inputs of a batch as tensors."""
    return [
        Tensor(name, specs[name].datatype, array.shape, array)
        for name, array in zip(batch.names, batch.arrays, strict=True)
    ]


def result_of(message: Message) -> BatchResult:
    """Turn a replica's reply into a result; arrays are views on the frame."""
    outputs = {tensor.name: tensor.data for tensor in message.tensors}
    return BatchResult(outputs, _decode_result(message.meta))


def _meta(batch: Batch) -> BatchMeta:
    # Requests that share a batch have the same to pass on: it is part of their key.
    return BatchMeta(batch.rows, batch.items[0].bound.forward, batch.traceparent)


class ChannelLink:
    """A replica at the other end of a channel connection: one frame there, one frame back."""

    def __init__(
        self, ident: str, connection: Connection, slots: int, specs: dict[str, InputSpec]
    ) -> None:
        self.id = ident
        self.slots = slots
        self.busy = 0
        self.rows = 0
        self.connection = connection
        self._specs = specs
        self._loop = asyncio.get_running_loop()

    @property
    def open(self) -> bool:
        """Whether the connection is there and its peer is not draining."""
        return not (self.connection.closed or self.connection.draining)

    def send(self, batch: Batch) -> asyncio.Future[BatchResult]:
        """Send a batch as one frame; the future gets what the answering frame holds.

        Raises:
            FrameError: the batch is too large to be sent.
        """
        future: asyncio.Future[BatchResult] = self._loop.create_future()

        def settle(result: BatchResult | Exception) -> None:
            if future.done():  # whoever sent it has given up
                return
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)

        self.ask(batch, settle)
        return future

    def ask(self, batch: Batch, callback: Callable[[BatchResult | Exception], None]) -> None:
        """Send a batch as one frame; `callback` gets what `send` gives or raises, once.

        It is called in the loop's turn in which the answer arrives, and must not raise.

        Raises:
            FrameError: the batch is too large to be sent.
        """

        def settle(reply: Message | Exception) -> None:
            if isinstance(reply, ChannelClosed):
                callback(ReplicaLost(self.id, reply.begun, reply.busy_s))
            elif isinstance(reply, Exception):
                callback(reply)
            else:
                try:
                    result = result_of(reply)
                except Exception as error:  # noqa: BLE001 - told to who waits, not to the channel
                    callback(error)
                else:
                    callback(result)

        tensors: Sequence[Tensor | Parts] | None = None
        if self.connection.shares:
            tensors = unjoined(batch, self._specs)
        if tensors is None:
            tensors = batch_tensors(batch, self._specs)
        self.connection.ask("infer", _meta(batch), tensors, settle)


class HandleLink:
    """All replicas of a model behind one call that somebody else routes (a Serve handle).

    The batch travels as one encoded channel frame, so that both transports carry the same bytes.

    Args:
        ident: name for metrics and errors.
        slots: batches under way at once over all replicas.
        call: sends the bytes of a frame and returns those of the answer; raises
            `ReplicaLost` when the replica died.
    """

    def __init__(
        self,
        ident: str,
        slots: int,
        specs: dict[str, InputSpec],
        call: Callable[[bytes], Awaitable[bytes]],
    ) -> None:
        self.id = ident
        self.slots = slots
        self.busy = 0
        self.rows = 0
        self.open = True
        self._specs = specs
        self._call = call

    async def send(self, batch: Batch) -> BatchResult:
        """Send a batch through the call."""
        frame = b"".join(frames.encode("infer", 1, _meta(batch), batch_tensors(batch, self._specs)))
        answer = await self._call(frame)
        return result_of(frames.decode(memoryview(answer)[4:]))
