"""One served model version as the gateway sees it: its checks, its queue, its links."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from math import prod
from typing import Any

from guards.guard import Guard
from serving.channel.messages.directory import ServedModel
from serving.channel.messages.inference import PROBE
from serving.config import ModelConfig
from serving.dataplane.batching.batch import Batch, Pending
from serving.dataplane.batching.batcher import ModelQueue
from serving.dataplane.context import RequestContext
from serving.dataplane.guards.build import build_guards
from serving.dataplane.hooks.event_counters import EventCounters
from serving.dataplane.hooks.events import Events
from serving.dataplane.hooks.failed_requests import FailureLog
from serving.dataplane.hooks.hook import BatchHook
from serving.dataplane.hooks.metrics import Metrics
from serving.dataplane.hooks.output_quality import OutputQuality
from serving.dataplane.hooks.publisher import EventPublisher
from serving.dataplane.hooks.recorder import Recorder
from serving.dataplane.hooks.statistics import BatchStatistics
from serving.dataplane.hooks.tracing import Tracer
from serving.dataplane.links.link import ReplicaLink, ReplicaLost
from serving.dataplane.links.replica_ends import ReplicaEnds
from serving.dataplane.requests.answer import Answer
from serving.dataplane.requests.binding import Binder
from serving.dataplane.requests.bound import Bound
from serving.dataplane.requests.rejections import no_replica
from serving.errors import InvalidInput, ModelNotReady, Unreachable, VigilError
from serving.models.consumers import consumers, reads_inputs
from serving.models.preparation.blank_row import blank_row, no_rows
from serving.protocol.datatypes import numpy_dtype
from serving.protocol.example import decode_example
from serving.protocol.messages import InferRequest, Parameters
from serving.telemetry.counters import SeriesSet
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report


class ServedVersion:
    """A model version that this gateway answers for.

    Args:
        served: name, version, configuration and example from the directory.
        series: where its metrics are kept.
        publisher: takes its prediction events.
        statistics: times of its batches, shared by all revisions of the version.
        ends: how replicas ended.
    """

    def __init__(
        self,
        served: ServedModel,
        series: SeriesSet,
        publisher: EventPublisher,
        statistics: BatchStatistics,
        ends: ReplicaEnds | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.name = served.name
        self.version = served.version
        self.key = served.key
        self.config = ModelConfig.model_validate_json(served.config)
        self.binder = Binder(served.name, self.config)
        self.specs = {spec.name: spec for spec in self.config.inputs}
        self.output_types = {spec.name: spec.datatype for spec in self.config.outputs}
        self.row_axis = self.config.row_axis
        self.classes = {spec.name: spec.classes for spec in self.config.outputs}
        guards: list[Guard] = build_guards(self.config)
        guard_names = tuple(guard.name for guard in self.config.guards)
        metrics = Metrics(
            series,
            served.name,
            served.version,
            tuple(name for name in guard_names if name != "schema"),  # that one runs here
        )
        log = FailureLog()
        self.statistics = statistics
        self._batch_hooks: tuple[BatchHook, ...] = (
            metrics,
            OutputQuality(series, served.name, served.version, self.output_types),
            statistics,
            log,
        )
        if consumers(self.config):
            self._batch_hooks += (Events(publisher, inputs=reads_inputs(self.config)),)
        self.recorder = Recorder(
            served.key,
            EventCounters(series, served.name, served.version, guard_names),
            self._batch_hooks,
            (metrics, log),
        )
        batching = self.config.batching
        self.queue = ModelQueue(
            served.name,
            self.binder.input_names,
            batching,
            guards,
            self.recorder,
            row_bytes(self.config),
            served.version,
            # What a replica of a model on another server is lost with was not computed in it.
            self.config.replicas if self.config.remote is None else None,
            ends,
        )
        self._fair = batching.fair_share == "client"
        self._levels = batching.priority_levels
        self._level = batching.default_priority_level or self._levels
        self._probe_batch = self._make_probe(served.example)
        self.proven = False
        self.disproved = False
        self.problem = "no replica yet"

    def admit(
        self,
        request: InferRequest,
        bound: Bound,
        arrived: float,
        timeout_s: float | None,
        context: RequestContext,
    ) -> Pending:
        """Queue a bound request that arrived at `arrived` (monotonic seconds).

        Args:
            timeout_s: seconds until the earliest deadline; None without one.
            context: what it came with; its clients take turns where the model says so.

        Raises:
            InvalidInput: its priority is none of the model's.
            VigilError: what `ModelQueue.submit` raises.
        """
        future: asyncio.Future[Answer] = self._loop.create_future()
        lane = context.client if self._fair else ""
        item = Pending(request.id, bound, future, arrived, lane, context)
        parameters = request.parameters
        if self._levels or (parameters and "priority" in parameters):
            self._set_priority(item, parameters)
        if bound.rows:
            self.queue.submit(item, timeout_s)
        else:
            self._answer_no_rows(item)
        return item

    def traced_by(self, tracer: Tracer | None) -> None:
        """Have `tracer` told of every batch from now on; None: nobody traces."""
        hooks = self._batch_hooks
        self.recorder.batch_hooks = hooks if tracer is None else (*hooks, tracer)

    def may_make_room(self, client: str, body: bytes | memoryview) -> bool:
        """Whether a full queue might take a request all the same that has not been read yet.

        A client that has less than its share of the queue, or a higher priority than something that
        waits, gets room. Its priority would be in the body, so a body that has the word is read.
        """
        lane: Hashable = client if self._fair else ""
        if self._levels:
            if b"priority" in bytes(body):
                return True
            lane = (self._level, lane)
        return self.queue.may_make_room(lane)

    def _answer_no_rows(self, item: Pending) -> None:
        """Give every output without a row; many models cannot compute none at all."""
        if not self.ready:
            raise no_replica(self.name)
        outputs = no_rows(self.config)
        item.answer(outputs)
        names = self.binder.input_names
        self._loop.call_soon(self.recorder.answered_at_once, item, names, outputs)

    def _set_priority(self, item: Pending, parameters: Parameters | None) -> None:
        asked = parameters.get("priority", 0) if parameters else 0
        if isinstance(asked, bool) or not isinstance(asked, int) or asked < 0:
            raise InvalidInput("parameter priority must be a whole number, 0 or more")
        if not self._levels:  # then a priority means nothing, as with Triton
            return
        if asked > self._levels:
            raise InvalidInput(
                f"model '{self.name}' has levels 1 to {self._levels}, not priority {asked}; "
                "send 0 for its default"
            )
        given = min(item.context.priority, self._levels)
        item.priority = asked or given or self._level
        item.lane = (item.priority, item.lane)

    async def prove(self, link: ReplicaLink) -> bool:
        """Run the example on a new replica; it gets traffic only when that has worked."""
        self.disproved = not await self._works(link)
        self.proven = self.proven or not self.disproved
        return not self.disproved

    async def _works(self, link: ReplicaLink) -> bool:
        try:
            result = await link.send(self._probe_batch)
        except ReplicaLost:
            self.problem = "a replica died in its first inference"
            self._report_unproven(self.problem)
            return False
        except VigilError as error:
            self.problem = error.message
            if not isinstance(error, ModelNotReady):
                said = "a replica refused the example"
                self._report_unproven(said, answer=type(error).__name__)
            return False
        except Exception as error:  # noqa: BLE001 - whatever its answer was, it is no proof
            said = f"{link.id} does not answer the example"
            self._report_unproven(said, error=error)
            self.problem = "a replica's first answer cannot be read; see the server's log"
            return False
        if result.meta.failed:
            has_example = self.config.example is not None
            tried = "the example" if has_example else "without an example, a row of zeros"
            more = "" if has_example else "; name a request that it answers by `example`"
            self.problem = f"{tried} fails: {next(iter(result.meta.failed.values()))}{more}"
            cause = next(iter(result.meta.causes.values()), None)
            self._report_unproven("the model fails on its example", cause=cause)
            return False
        if missing := self.output_types.keys() - result.outputs.keys():
            self.problem = f"the model does not give output '{min(missing)}'"
            self._report_unproven(self.problem)
            return False
        return True

    def _report_unproven(self, said: str, **more: Any) -> None:
        said += ", so it gets no traffic from here"
        report(Event.VERSION_UNPROVEN, said, model=self.name, version=self.version, **more)

    async def reaches(self, link: ReplicaLink) -> bool:
        """Ask a replica of a model on another server whether that can be reached.

        Nothing is computed. A server that refuses, or takes long, is there.
        """
        try:
            await link.send(self._batch(self._zeros()))
        except Unreachable as error:
            self.problem = error.message
            return False
        except (ReplicaLost, VigilError):
            return True
        return True

    @property
    def ready(self) -> bool:
        """Whether a proven replica is there."""
        return bool(self.queue.links)

    def _make_probe(self, example: bytes | None) -> Batch:
        if example is not None:
            try:
                bound = self.binder.bind(decode_example(example, self.name, self.version))
            except InvalidInput as error:
                raise InvalidInput(
                    f"{self.config.example}, which model.yaml names as `example`: {error.message}"
                ) from None
        else:
            bound = self._zeros()
        return self._batch(bound)

    def _batch(self, bound: Bound) -> Batch:
        future: asyncio.Future[Answer] = self._loop.create_future()
        item = Pending("probe", bound, future, 0.0)
        return Batch(self.binder.input_names, [item], 0.0)

    def _zeros(self) -> Bound:
        """A row of zeros, for models that come without an example."""
        arrays = [blank_row(self.specs[name]) for name in self.binder.input_names]
        # Zeros may be no food for a model that is not ours to try: it is asked whether it is there.
        forward = b"" if self.config.remote is None else PROBE
        return Bound(tuple(arrays), 1, tuple(a.shape[1:] for a in arrays), (), None, forward)


def row_bytes(config: ModelConfig) -> int | None:
    """Return the bytes that a row of a model's inputs has; None when rows differ."""
    total = 0
    for spec in config.inputs:
        if spec.sensitive:
            continue
        if spec.datatype == "BYTES" or any(dim < 0 for dim in spec.shape[1:]):
            return None
        total += numpy_dtype(spec.datatype).itemsize * prod(spec.shape[1:])
    return total
