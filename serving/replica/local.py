"""Batches computed by a model in this process, with the guards that need the model.

They are computed right in the loop that reads them: a hand-over to another thread would cost more
than a small model's forward pass. While one batch computes the next one waits, complete, in the
socket. A model that computes elsewhere (a GPU) has several batches under way instead.
"""

from __future__ import annotations

import asyncio
import time

import msgspec
import numpy as np

from serving.channel.busy_poll import REQUEST, BusyPoll
from serving.channel.connection import Connection
from serving.channel.frame_parts import Message
from serving.channel.messages.inference import BatchMeta, BatchResult
from serving.models.contract import Capabilities
from serving.models.execution.core_limit import hold_torch
from serving.models.formats.libraries import import_before_fork
from serving.models.guards.build import replica_guards
from serving.models.preparation.prepare import prepare
from serving.models.repository.folder import ModelEntry
from serving.replica.batch_handler import Reply, require_infer, tensors_of, told
from serving.replica.executor import BatchExecutor
from serving.replica.gpu import GpuTime, gpu_time
from serving.telemetry.counters import SeriesSet

_decode_batch = msgspec.msgpack.Decoder(BatchMeta).decode


class LocalBatches:
    """A `BatchHandler` that computes.

    Args:
        entry: the model version.
        series: where the time on a GPU is counted.
    """

    def __init__(self, entry: ModelEntry, series: SeriesSet) -> None:
        self._entry = entry
        self._series = series
        self._gpu: GpuTime | None = None
        self.slots = entry.config.replicas.max_inflight_batches
        self.capabilities = Capabilities()
        self.batches = 0
        self.busy_since: float | None = None
        self._types = {spec.name: spec.datatype for spec in entry.config.outputs}
        self._executor: BatchExecutor | None = None
        self._busy_poll: BusyPoll | None = None
        self._computing = 0
        self._requests = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def load(self) -> None:
        """Load the model and its guards and warm up; blocks.

        Raises:
            ConfigError: files are missing, damaged or do not fit the configuration.
        """
        # Here, so that what they start when a model is loaded is limited as well.
        import_before_fork(self._entry.config.format)
        hold_torch(self._entry.config.replicas.cores)
        model = prepare(self._entry, self._entry.config.replicas.device).model
        guards = replica_guards(self._entry, model.capabilities)
        self._executor = BatchExecutor(model, guards, self._entry.name, self._entry.version)
        self.capabilities = model.capabilities
        self._gpu = gpu_time(self._series, self._entry)

    def start(self, busy_poll: BusyPoll) -> None:
        """Begin; `message` may be called from now on."""
        self._busy_poll = busy_poll

    async def drained(self) -> None:
        """Return once everything is answered that has been sent.

        What gateways sent before they read the goodbye still gets its answer. A batch may compute
        for longer than this, and another one wait behind it.
        """
        seen = -1
        while seen != self.batches or self._tasks:
            seen = self.batches
            await asyncio.sleep(0.2)

    async def close(self) -> None:
        """There is nothing to let go of: the process ends."""

    async def infer(self, message: Message) -> Reply:
        """Answer an `infer` message that came by another way than a connection.

        Raises:
            VigilError: the batch as a whole is refused.
        """
        return self._infer(message)

    def message(self, connection: Connection, message: Message) -> None:
        """Answer a message over its connection, at once or later; never raises."""
        assert self._executor is not None
        if message.kind == "infer" and self._executor.overlaps:
            task = asyncio.get_running_loop().create_task(self._overlapping(connection, message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        assert self._busy_poll is not None
        self._busy_poll.met()
        progress = connection.progress
        if progress is not None:
            progress.begin(message.id, time.monotonic())
        try:
            require_infer(message)
            connection.reply(message.id, *self._infer(message))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - the peer must get an answer whatever it was
            connection.fail(message.id, told(error))
        if progress is not None:
            progress.end(message.id, time.monotonic())
        self._busy_poll.expect(REQUEST, alone=self._requests == 1)

    async def _overlapping(self, connection: Connection, message: Message) -> None:
        """Answer a batch while others are under way, on a model that allows it."""
        assert self._executor is not None
        self._computing += 1
        now = time.monotonic()
        self.busy_since = self.busy_since or now
        if self._gpu is not None:
            self._gpu.busy(True, now)
        progress = connection.progress
        if progress is not None:
            progress.begin(message.id, now)
        try:
            meta, inputs = _read(message)
            result = await self._executor.run_async(meta.rows, inputs)
            connection.reply(message.id, *self._answer(result))
        except (KeyboardInterrupt, asyncio.CancelledError):
            raise
        except BaseException as error:  # noqa: BLE001 - the peer must get an answer whatever it was
            connection.fail(message.id, told(error))
        finally:
            self._computing -= 1
            # Each end is progress; the clock for a hang starts again with it.
            now = time.monotonic()
            self.busy_since = now if self._computing else None
            if self._gpu is not None:
                self._gpu.busy(self._computing > 0, now)
            self.batches += 1
            if progress is not None:
                progress.end(message.id, now)

    def _infer(self, message: Message) -> Reply:
        assert self._executor is not None
        meta, inputs = _read(message)
        self._requests = len(meta.rows)
        self.busy_since = now = time.monotonic()
        if self._gpu is not None:
            self._gpu.busy(True, now)
        try:
            result = self._executor.run(meta.rows, inputs)
        finally:
            self.busy_since = None
            if self._gpu is not None:
                self._gpu.busy(False, time.monotonic())
            self.batches += 1
        return self._answer(result)

    def _answer(self, result: BatchResult) -> Reply:
        return result.meta, tensors_of(result.outputs, self._types)


def _read(message: Message) -> tuple[BatchMeta, dict[str, np.ndarray]]:
    return _decode_batch(message.meta), {tensor.name: tensor.data for tensor in message.tensors}
