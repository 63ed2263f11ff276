"""The replica of a model on another server: it passes batches on, many at once.

Nothing is computed here. A batch is passed on in the turn in which it comes, its answer likewise;
only one that is refused gets a task, which finds out why. When the other server cannot be reached,
the gateways' connections are closed: they connect again and ask for a proof until it is back, and
say meanwhile why the model is not ready.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from serving.channel.busy_poll import ANSWER, REQUEST, BusyPoll
from serving.channel.connection import Connection
from serving.channel.frame_parts import Message
from serving.channel.messages.inference import (
    PROBE,
    BatchMeta,
    Passthrough,
    ResponseParameters,
    ResultMeta,
)
from serving.config import Remote
from serving.errors import InvalidInput, Unreachable, UpstreamDenied, VigilError
from serving.models.blank_row import blank_row
from serving.models.contract import Capabilities
from serving.models.repository.folder import ModelEntry
from serving.remote.access import Access, access_of
from serving.remote.address import parse_address
from serving.remote.batch_tensors import (
    check_metadata,
    from_upstream,
    response_parameters_of,
    to_upstream,
    version_of,
)
from serving.remote.client import AsyncClient
from serving.remote.failures import ROWS_MAY_BE_BAD, of_client
from serving.remote.wire import NOTHING, Inferred
from serving.replica.batch_handler import Reply, require_infer, tensors_of, told
from serving.telemetry.counters import SeriesSet
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report
from serving.telemetry.metrics.models import UPSTREAM_UP

WATCH_S: Final = 1.0
DRAIN_S: Final = 10.0

_decode_batch = msgspec.msgpack.Decoder(BatchMeta).decode
_decode_forward = msgspec.msgpack.Decoder(Passthrough).decode

Outputs = Mapping[str, np.ndarray]


class _Batch:
    """A batch on its way to the other server and back.

    Attributes:
        probe: whether it only asks if the model is there.
        rows: rows of each request.
        inputs: the rows of all requests.
        forward: what they pass on beside the tensors.
        failed: why, by position of the request, one failed.
        response_parameters: what was said of one beside the tensors, by position.
        traceparent: the trace context that the other server is told; empty without one.

    Raises:
        InvalidInput: it does not hold the rows that it names.
    """

    __slots__ = (
        "failed", "forward", "inputs", "probe", "response_parameters", "rows", "started",
        "traceparent",
    )  # fmt: skip

    def __init__(self, message: Message) -> None:
        meta = _decode_batch(message.meta)
        self.rows = meta.rows
        self.inputs = {tensor.name: tensor.data for tensor in message.tensors}
        total = sum(meta.rows)
        if not total or any(len(array) != total for array in self.inputs.values()):
            raise InvalidInput("the batch does not hold the rows that it names")
        self.probe = meta.forward == PROBE
        plain = self.probe or not meta.forward
        self.forward = NOTHING if plain else _decode_forward(meta.forward)
        self.traceparent = meta.traceparent.decode()
        self.started = time.perf_counter_ns()
        self.failed: dict[int, VigilError] = {}
        self.response_parameters: dict[int, ResponseParameters] = {}


class UpstreamBatches:
    """A `BatchHandler` that passes batches on.

    Args:
        entry: the model version.
        remote: where it is computed.
        series: where `vigil.upstream.up` is kept.
    """

    def __init__(self, entry: ModelEntry, remote: Remote, series: SeriesSet) -> None:
        self._entry = entry
        self._config = entry.config
        self._upstream = parse_address(remote.url)
        self._remote = remote
        self._series = series
        self.slots = remote.max_inflight
        self.capabilities = Capabilities()
        self.batches = 0
        self.busy_since: float | None = None
        """Never: that the other server takes long is no sign of a replica that hangs."""
        self._types = {spec.name: spec.datatype for spec in entry.config.outputs}
        self._tasks: set[asyncio.Task[None]] = set()
        self._busy_poll: BusyPoll | None = None
        self._access = Access()
        self._client: AsyncClient | None = None
        self._under_way = 0
        """Batches that wait for the other server without a task."""
        self._watcher: asyncio.Task[None] | None = None
        self._used: set[Connection] = set()
        self._reachable = True

    def load(self) -> None:
        """Find the secret and the certificates; the other server need not be there yet."""
        remote = self._remote
        self._access = access_of(
            self._upstream, remote.credentials, remote.tls, self._entry.directory.parent
        )

    def start(self, busy_poll: BusyPoll) -> None:
        """Begin; `message` may be called from now on."""
        remote = self._remote
        self._busy_poll = busy_poll
        self._client = AsyncClient(
            self._upstream,
            remote.model or self._entry.name,
            remote.version,
            remote.timeout_s,
            self._access,
        )
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def drained(self) -> None:
        """Return once everything is answered that has been sent, or after `DRAIN_S`."""
        if self._watcher:
            self._watcher.cancel()
        await asyncio.sleep(0.2)  # what gateways sent before they read the goodbye
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                while self._under_way or self._tasks:  # noqa: ASYNC110 - seldom, and short
                    await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Close the connections to the other server."""
        if self._client:
            await self._client.close()

    async def infer(self, message: Message) -> Reply:
        """Answer an `infer` message that came by another way than a connection.

        Raises:
            VigilError: the batch as a whole is refused.
        """
        batch = _Batch(message)
        return self._result(batch, await self._pass_on(batch))

    # -- batches ------------------------------------------------------------------------

    def message(self, connection: Connection, message: Message) -> None:
        """Answer a message over its connection, later; never raises."""
        assert self._client is not None
        try:
            require_infer(message)
            batch = _Batch(message)
            if batch.probe or not self._client.speaks:
                self._spawn(connection, message.id, batch, self._pass_on(batch))
            else:
                self._start(connection, message.id, batch)
        except Exception as error:  # noqa: BLE001 - the peer must get an answer whatever it was
            self._refuse(connection, message.id, error)

    def _start(self, connection: Connection, ident: int, batch: _Batch) -> None:
        """Pass a batch on without a task, which only one that is refused needs."""
        assert self._client is not None
        everything = range(len(batch.rows))

        def answered(outcome: Inferred | VigilError) -> None:
            self._under_way -= 1
            self._stay_awake(REQUEST, batch)
            try:
                if isinstance(outcome, VigilError):
                    raise self._told_client(batch, outcome)
                outputs = self._take(batch, everything, outcome)
                self._reply(connection, ident, batch, outputs)
            except ROWS_MAY_BE_BAD as error:
                search = self._search(batch, everything, batch.inputs, error)
                self._spawn(connection, ident, batch, search)
            except Exception as error:  # noqa: BLE001 - as above
                self._refuse(connection, ident, error)

        inputs = to_upstream(self._config, batch.inputs)
        self._client.ask(batch.forward, inputs, answered, batch.traceparent)
        self._stay_awake(ANSWER, batch)
        self._under_way += 1

    def _spawn(
        self,
        connection: Connection,
        ident: int,
        batch: _Batch,
        outputs: Coroutine[Any, Any, Outputs | None],
    ) -> None:
        async def answer() -> None:
            try:
                self._reply(connection, ident, batch, await outputs)
            except Exception as error:  # noqa: BLE001 - as above
                self._refuse(connection, ident, error)

        task = asyncio.get_running_loop().create_task(answer())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _stay_awake(self, what: int, batch: _Batch) -> None:
        if self._busy_poll is not None:
            alone = not self._under_way and len(batch.rows) == 1
            self._busy_poll.expect(what, alone=alone)

    def _reply(
        self, connection: Connection, ident: int, batch: _Batch, outputs: Outputs | None
    ) -> None:
        connection.reply(ident, *self._result(batch, outputs))
        self._used.add(connection)

    def _refuse(self, connection: Connection, ident: int, error: Exception) -> None:
        refused = told(error)
        connection.fail(ident, refused)
        if isinstance(refused, Unreachable):
            self._lose()

    def _result(self, batch: _Batch, outputs: Outputs | None) -> Reply:
        self.batches += 1
        tensors = tensors_of(outputs or {}, self._types)
        took = time.perf_counter_ns() - batch.started
        messages = {position: error.message for position, error in batch.failed.items()}
        kinds = {position: type(error).__name__ for position, error in batch.failed.items()}
        causes = {at: error.cause for at, error in batch.failed.items() if error.cause is not None}
        return ResultMeta(messages, (), took, 0, kinds, batch.response_parameters, causes), tensors

    async def _pass_on(self, batch: _Batch) -> Outputs | None:
        if batch.probe:
            return await self._probe()
        return await self._ask(batch, range(len(batch.rows)), batch.inputs)

    async def _ask(
        self, batch: _Batch, positions: Sequence[int], inputs: Mapping[str, np.ndarray]
    ) -> Outputs | None:
        """Ask for the requests of a batch at `positions`, whose rows `inputs` holds."""
        assert self._client is not None
        try:
            try:
                answer = await self._client.infer(
                    batch.forward, to_upstream(self._config, inputs), batch.traceparent
                )
            except VigilError as error:
                raise self._told_client(batch, error) from None
            return self._take(batch, positions, answer)
        except ROWS_MAY_BE_BAD as error:
            refused = error
        return await self._search(batch, positions, inputs, refused)

    def _told_client(self, batch: _Batch, error: VigilError) -> VigilError:
        """Return what the server's refusal means where it got a client's own credential."""
        if not self._config.passes_credentials:
            return error
        return of_client(error, batch.forward.credential)

    async def _search(
        self,
        batch: _Batch,
        positions: Sequence[int],
        inputs: Mapping[str, np.ndarray],
        refused: VigilError,
    ) -> Outputs | None:
        """Find by bisection who of several is the reason that they were refused."""
        if len(positions) == 1:
            batch.failed[positions[0]] = refused
            return None
        half = len(positions) // 2
        cut = sum(batch.rows[position] for position in positions[:half])
        left = {name: array[:cut] for name, array in inputs.items()}
        right = {name: array[cut:] for name, array in inputs.items()}
        return _merge(
            await self._ask(batch, positions[:half], left),
            await self._ask(batch, positions[half:], right),
        )

    def _take(self, batch: _Batch, positions: Sequence[int], answer: Inferred) -> Outputs:
        """Return the outputs of an answer for the requests at `positions`, after a look at it.

        Raises:
            ModelFailed: it is not what `model.yaml` declares.
        """
        total = sum(batch.rows[position] for position in positions)
        outputs = from_upstream(self._entry.name, self._config, answer.tensors, total)
        version = version_of(self._entry.name, answer)
        other = "" if version == self._entry.version else version
        if said := response_parameters_of(answer, other, alone=len(positions) == 1):
            batch.response_parameters.update(dict.fromkeys(positions, said))
        return outputs

    async def _probe(self) -> dict[str, np.ndarray]:
        """Return a row of zeros once the other server says that the model is ready.

        Nothing is computed there: zeros may be no food for a model that is not ours.
        """
        assert self._client is not None
        try:
            metadata = await self._client.require_ready()
        except UpstreamDenied:
            # Nobody asks yet whose credential it could be; but the server is there.
            if not self._config.passes_credentials:
                raise
        else:
            check_metadata(self._entry.name, self._config, metadata)
        return {spec.name: blank_row(spec) for spec in self._config.outputs}

    # -- the other server ---------------------------------------------------------------

    async def _watch(self) -> None:
        """Notice that the other server is gone although nobody asks it anything."""
        assert self._client is not None
        while True:
            up = await self._client.alive()
            self._tell_up(up)
            if up:
                self._found()
            else:
                self._lose()
            await asyncio.sleep(WATCH_S)
            self._used = {connection for connection in self._used if not connection.closed}

    def _tell_up(self, up: bool) -> None:
        model, version = self._entry.name, self._entry.version
        labels = {"model": model, "version": version, "upstream": self._upstream.url}
        self._series.gauge(UPSTREAM_UP, **labels).set(up)

    def _lose(self) -> None:
        """Close the connections that had a proof; what is under way on them fails with it."""
        self._tell_up(False)
        if self._reachable:
            self._reachable = False
            said = f"the upstream server {self._remote.url} cannot be reached"
            self._report_upstream(Event.UPSTREAM_LOST, said)
        gone, self._used = self._used, set()
        for connection in gone:
            connection.close()

    def _found(self) -> None:
        if not self._reachable:
            self._reachable = True
            said = f"the upstream server {self._remote.url} answers again"
            self._report_upstream(Event.UPSTREAM_BACK, said)

    def _report_upstream(self, event: Event, said: str) -> None:
        report(event, said, model=self._entry.name, version=self._entry.version)


def _merge(left: Outputs | None, right: Outputs | None) -> Outputs | None:
    if left is None or right is None:
        return right if left is None else left
    return {name: np.concatenate([array, right[name]]) for name, array in left.items()}
