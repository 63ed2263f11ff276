"""The replica of a model on another server: it passes batches on, many at once.

Nothing is computed here, so every batch is a task that waits for the other server. When that
cannot be reached, the gateways' connections are closed: they connect again and ask for a proof
until it is back, and say meanwhile why the model is not ready.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import numpy as np

from serving.channel import frames
from serving.channel.connection import Connection
from serving.channel.directory import ServedModel
from serving.channel.frames import Message
from serving.channel.inference import PROBE, BatchMeta, Forward, Remarks, ResultMeta
from serving.config import OutputSpec
from serving.errors import InvalidInput, ModelFailed, Unreachable, Unsupported, VigilError
from serving.models.contract import Capabilities
from serving.protocol.datatypes import numpy_dtype
from serving.protocol.messages import Tensor
from serving.remote.access import Access, access_of
from serving.remote.address import parse_address
from serving.remote.client import AsyncClient
from serving.remote.failures import ROWS_MAY_BE_BAD
from serving.remote.tensors import check_metadata, from_upstream, remarks_of, to_upstream
from serving.remote.wire import NOTHING
from serving.roles.replica import ReplicaRole

WATCH_S: Final = 1.0
DRAIN_S: Final = 10.0

_decode_batch = msgspec.msgpack.Decoder(BatchMeta).decode
_decode_forward = msgspec.msgpack.Decoder(Forward).decode

Outputs = Mapping[str, np.ndarray]


class RemoteReplicaRole(ReplicaRole):
    """One replica that fronts another server; see `ReplicaRole` for its arguments."""

    def __init__(
        self,
        served: ServedModel,
        member_id: str,
        address: str,
        hub_address: str,
        secret: bytes | None = None,
    ) -> None:
        super().__init__(served, member_id, address, hub_address, secret)
        remote = self._entry.config.remote
        assert remote is not None
        self._config = self._entry.config
        self._upstream = parse_address(remote.url)
        self._remote = remote
        self._slots = remote.max_inflight
        self._capabilities = Capabilities()
        self._access = Access()
        self._client: AsyncClient | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._watcher: asyncio.Task[None] | None = None
        self._used: set[Connection] = set()

    def load(self) -> None:
        """Find the secret and the certificates; the other server need not be there yet.

        Raises:
            ConfigError: one is missing.
        """
        remote = self._remote
        self._access = access_of(
            self._upstream, remote.credentials, remote.tls, self._entry.directory.parent
        )

    async def start(self) -> str:
        """Listen and register; returns the address."""
        remote = self._remote
        self._client = AsyncClient(
            self._upstream,
            remote.model or self._entry.name,
            remote.version,
            remote.timeout_s,
            self._access,
        )
        self._watcher = asyncio.get_running_loop().create_task(self._watch())
        return await super().start()

    async def stop(self) -> None:
        """Leave the directory, wait for what is under way, close."""
        if self._reporter:
            self._reporter.stop()
        if self._watcher:
            self._watcher.cancel()
        if self._server:
            self._server.goaway()
            await asyncio.sleep(0.2)  # what gateways sent before they read the goodbye
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=DRAIN_S)
            self._server.close()
        if self._client:
            await self._client.close()

    async def infer_frame(self, frame: bytes) -> bytes:
        """Answer one encoded `infer` frame with an encoded reply; for the handle transport.

        Raises:
            VigilError: the batch as a whole is refused.
        """
        meta, tensors = await self._pass_on(frames.decode(memoryview(frame)[4:]))
        return b"".join(frames.encode("reply", 1, meta, tensors))

    # -- batches ------------------------------------------------------------------------

    def _message(self, connection: Connection, message: Message) -> None:
        task = asyncio.get_running_loop().create_task(self._answer_one(connection, message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer_one(self, connection: Connection, message: Message) -> None:
        try:
            if message.kind != "infer":
                raise Unsupported(f"a replica does not answer '{message.kind}'")
            connection.reply(message.id, *await self._pass_on(message))
            self._used.add(connection)
        except VigilError as error:
            connection.fail(message.id, error)
            if isinstance(error, Unreachable):
                self._lose()
        except Exception as error:  # noqa: BLE001 - the peer must get an answer whatever it was
            failed = ModelFailed(f"replica failed: {type(error).__name__}: {error}")
            connection.fail(message.id, failed)

    async def _pass_on(self, message: Message) -> tuple[ResultMeta, list[Tensor]]:
        meta = _decode_batch(message.meta)
        inputs = {tensor.name: tensor.data for tensor in message.tensors}
        total = sum(meta.rows)
        if not total or any(len(array) != total for array in inputs.values()):
            raise InvalidInput("the batch does not hold the rows that it names")
        started = time.perf_counter_ns()
        failed: dict[int, VigilError] = {}
        remarks: dict[int, Remarks] = {}
        if meta.forward == PROBE:
            outputs: Outputs | None = await self._probe()
        else:
            forward = _decode_forward(meta.forward) if meta.forward else NOTHING
            found = (failed, remarks)
            outputs = await self._ask(forward, range(len(meta.rows)), meta.rows, inputs, found)
        self.batches += 1
        tensors = [
            Tensor(name, self._types[name], array.shape, array)
            for name, array in (outputs or {}).items()
        ]
        took = time.perf_counter_ns() - started
        messages = {position: error.message for position, error in failed.items()}
        kinds = {position: type(error).__name__ for position, error in failed.items()}
        return ResultMeta(messages, (), took, 0, kinds, remarks), tensors

    async def _ask(
        self,
        forward: Forward,
        positions: Sequence[int],
        rows: Sequence[int],
        inputs: Mapping[str, np.ndarray],
        found: tuple[dict[int, VigilError], dict[int, Remarks]],
    ) -> Outputs | None:
        """Ask for the requests at `positions`; one that is refused is found by bisection.

        `found` gets, by position, why one failed, and what was said of one beside the tensors.
        """
        assert self._client is not None
        failed, remarks = found
        total = sum(rows[position] for position in positions)
        try:
            answer = await self._client.infer(forward, to_upstream(self._config, inputs))
            outputs = from_upstream(self._entry.name, self._config, answer.tensors, total)
        except ROWS_MAY_BE_BAD as error:
            if len(positions) == 1:
                failed[positions[0]] = error
                return None
        else:
            if said := remarks_of(answer, alone=len(positions) == 1):
                remarks.update(dict.fromkeys(positions, said))
            return outputs
        half = len(positions) // 2
        cut = sum(rows[position] for position in positions[:half])
        left = {name: array[:cut] for name, array in inputs.items()}
        right = {name: array[cut:] for name, array in inputs.items()}
        return _merge(
            await self._ask(forward, positions[:half], rows, left, found),
            await self._ask(forward, positions[half:], rows, right, found),
        )

    async def _probe(self) -> dict[str, np.ndarray]:
        """Return a row of zeros once the other server says that the model is ready.

        Nothing is computed there: zeros may be no food for a model that is not ours.
        """
        assert self._client is not None
        check_metadata(self._entry.name, self._config, await self._client.require_ready())
        return {spec.name: _zeros(spec) for spec in self._config.outputs}

    # -- the other server ---------------------------------------------------------------

    async def _watch(self) -> None:
        """Notice that the other server is gone although nobody asks it anything."""
        assert self._client is not None
        while True:
            await asyncio.sleep(WATCH_S)
            self._used = {connection for connection in self._used if not connection.closed}
            if not await self._client.alive():
                self._lose()

    def _lose(self) -> None:
        """Close the connections that had a proof; what is under way on them fails with it."""
        gone, self._used = self._used, set()
        for connection in gone:
            connection.close()


def _merge(left: Outputs | None, right: Outputs | None) -> Outputs | None:
    if left is None or right is None:
        return right if left is None else left
    return {name: np.concatenate([array, right[name]]) for name, array in left.items()}


def _zeros(spec: OutputSpec) -> np.ndarray:
    row = np.zeros((1, *(max(size, 1) for size in spec.shape[1:])), numpy_dtype(spec.datatype))
    if spec.datatype == "BYTES":
        row[...] = b""
    return row
