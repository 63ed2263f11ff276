"""The replica role: one model version on one device, behind a channel server.

Batches are computed right in the loop that reads them: a hand-over to another thread would cost
more than a small model's forward pass. While one batch computes the next one waits, complete, in
the socket. A model that computes elsewhere (a GPU) has several batches under way instead. What
must not fall silent meanwhile, the report to the hub, has a thread of its own.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

import msgspec
import numpy as np

from serving import errors
from serving.channel import frames
from serving.channel.busy_poll import REQUEST, BusyPoll
from serving.channel.connection import Connection
from serving.channel.endpoint import ChannelServer
from serving.channel.frame_parts import Message
from serving.channel.messages.directory import Member, Report, ServedModel
from serving.channel.messages.inference import BatchMeta, BatchResult, ResultMeta
from serving.models.guards.build import replica_guards
from serving.models.preparation.prepare import prepare
from serving.protocol.messages import Tensor
from serving.replica.executor import BatchExecutor
from serving.roles.reporter import ReporterThread
from serving.roles.served_entry import served_entry
from serving.telemetry import names
from serving.telemetry.counters import SeriesSet
from serving.telemetry.logs.causes import describe
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report
from serving.telemetry.process import ProcessSeries

_decode_batch = msgspec.msgpack.Decoder(BatchMeta).decode


class ReplicaRole:
    """One replica.

    Args:
        served: the model version to serve.
        member_id: unique name of this replica.
        address: where to listen, `unix:...` or `tcp:host:port`.
        hub_address: where the hub listens.
        secret: the cluster's secret for TCP channels.
    """

    def __init__(
        self,
        served: ServedModel,
        member_id: str,
        address: str,
        hub_address: str,
        secret: bytes | None = None,
    ) -> None:
        self._served = served
        self._entry = served_entry(served)
        self._id = member_id
        self._address = address
        self._hub_address = hub_address
        self._secret = secret
        self._slots = self._entry.config.replicas.max_inflight_batches
        self._types = {spec.name: spec.datatype for spec in self._entry.config.outputs}
        self._executor: BatchExecutor | None = None
        self._server: ChannelServer | None = None
        self._reporter: ReporterThread | None = None
        self.busy_since: float | None = None
        self.batches = 0
        self._computing = 0
        self._requests = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._busy_poll: BusyPoll | None = None
        self._series = SeriesSet()
        name, version = served.name, served.version
        self._process = ProcessSeries(self._series, "replica", member_id, name, version)

    def load(self) -> None:
        """Load the model and its guards and warm up; blocks.

        Raises:
            ConfigError: files are missing, damaged or do not fit the configuration.
        """
        began = time.monotonic()
        self._load()
        base = {"model": self._entry.name, "version": self._entry.version}
        self._series.gauge(names.MODEL_LAST_LOAD_TIMESTAMP, **base).set(time.time())
        took = self._series.gauge(names.MODEL_LAST_LOAD_DURATION, **base)
        took.set(time.monotonic() - began)

    def _load(self) -> None:
        import torch

        torch.set_num_threads(self._entry.config.replicas.cores)
        model = prepare(self._entry, self._entry.config.replicas.device).model
        guards = replica_guards(self._entry, model.capabilities)
        self._executor = BatchExecutor(model, guards, self._entry.name, self._entry.version)
        self._capabilities = model.capabilities

    async def start(self) -> str:
        """Listen and register; returns the address. `load` must have run."""
        self._busy_poll = BusyPoll(self._entry.config.batching.busy_poll_us / 1e6)
        self._server = ChannelServer(self._message, slots=self._slots, secret=self._secret)
        address = await self._server.start(self._address)
        member = Member(
            role="replica",
            id=self._id,
            pid=os.getpid(),
            address=address,
            model=self._entry.name,
            version=self._entry.version,
            slots=self._slots,
            capabilities=tuple(
                name for name, has in msgspec.structs.asdict(self._capabilities).items() if has
            ),
            revision=self._served.revision,
        )
        self._reporter = ReporterThread(self._hub_address, self._secret, member, self._report)
        self._reporter.start()
        report(
            Event.MODEL_LOADED,
            "a replica is ready for its first batch",
            model=self._entry.name,
            version=self._entry.version,
            process=self._id,
        )
        return address

    async def stop(self) -> None:
        """Leave the directory, finish what is here, close."""
        if self._reporter:
            self._reporter.stop()
        if self._server:
            self._server.goaway()
            # What gateways sent before they read the goodbye still gets its answer. A batch may
            # compute for longer than this, and another one wait behind it.
            seen = -1
            while seen != self.batches or self._tasks:
                seen = self.batches
                await asyncio.sleep(0.2)
            self._server.close()

    async def infer_frame(self, frame: bytes) -> bytes:
        """Answer one encoded `infer` frame with an encoded reply; for the handle transport.

        Raises:
            VigilError: the batch as a whole is refused.
        """
        meta, tensors = self._infer(frames.decode(memoryview(frame)[4:]))
        return b"".join(frames.encode("reply", 1, meta, tensors))

    def _message(self, connection: Connection, message: Message) -> None:
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
            if message.kind != "infer":
                raise errors.Unsupported(f"a replica does not answer '{message.kind}'")
            connection.reply(message.id, *self._infer(message))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - the peer must get an answer whatever it was
            connection.fail(message.id, self._told(error))
        if progress is not None:
            progress.end(message.id, time.monotonic())
        self._busy_poll.expect(REQUEST, alone=self._requests == 1)

    async def _overlapping(self, connection: Connection, message: Message) -> None:
        """Answer a batch while others are under way, on a model that allows it."""
        assert self._executor is not None
        self._computing += 1
        now = time.monotonic()
        self.busy_since = self.busy_since or now
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
            connection.fail(message.id, self._told(error))
        finally:
            self._computing -= 1
            # Each end is progress; the clock for a hang starts again with it.
            now = time.monotonic()
            self.busy_since = now if self._computing else None
            self.batches += 1
            if progress is not None:
                progress.end(message.id, now)

    def _infer(self, message: Message) -> tuple[ResultMeta, list[Tensor]]:
        assert self._executor is not None
        meta, inputs = _read(message)
        self._requests = len(meta.rows)
        self.busy_since = time.monotonic()
        try:
            result = self._executor.run(meta.rows, inputs)
        finally:
            self.busy_since = None
            self.batches += 1
        return self._answer(result)

    def _answer(self, result: BatchResult) -> tuple[ResultMeta, list[Tensor]]:
        tensors = [
            Tensor(name, self._types[name], array.shape, array)
            for name, array in result.outputs.items()
        ]
        return result.meta, tensors

    def _told(self, error: BaseException) -> errors.VigilError:
        """Return what the gateway is told of a batch that failed as a whole."""
        if isinstance(error, errors.VigilError):
            return error
        failed = errors.ModelFailed(f"replica failed: {type(error).__name__}: {error}")
        failed.cause = describe(error)
        return failed

    def _report(self) -> Report:
        since = self.busy_since
        status: dict[str, Any] = {"busy_s": time.monotonic() - since if since else 0.0}
        self._process.update()
        return Report(ready=True, series=self._series.snapshot(), status=status)


def _read(message: Message) -> tuple[BatchMeta, dict[str, np.ndarray]]:
    return _decode_batch(message.meta), {tensor.name: tensor.data for tensor in message.tensors}
