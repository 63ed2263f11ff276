"""One served model version as the gateway sees it: checks, queue, links and answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Hashable
from functools import partial
from math import prod

from serving.channel.messages.directory import ServedModel
from serving.config import ModelConfig
from serving.config.encoded import decode_config
from serving.dataplane.batching.batcher import Batcher
from serving.dataplane.context import RequestContext
from serving.dataplane.endpoint import Ticket
from serving.dataplane.hooks.event_counters import EventCounters
from serving.dataplane.hooks.events import Events
from serving.dataplane.hooks.exemplars import Exemplars
from serving.dataplane.hooks.failed_requests import FailureLog
from serving.dataplane.hooks.hook import BatchHook, RefusalHook
from serving.dataplane.hooks.metrics import Metrics
from serving.dataplane.hooks.objectives import Objectives
from serving.dataplane.hooks.output_quality import OutputQuality
from serving.dataplane.hooks.publisher import EventPublisher
from serving.dataplane.hooks.recorder import Recorder
from serving.dataplane.hooks.request_spans import RequestSpans, RequestTraces, pass_on
from serving.dataplane.hooks.server_span import in_span
from serving.dataplane.hooks.statistics import BatchStatistics
from serving.dataplane.hooks.tracing import Tracer
from serving.dataplane.links.link import ReplicaLink
from serving.dataplane.links.replica_ends import ReplicaEnds
from serving.dataplane.probe import Probe
from serving.dataplane.requests.answer import Answer
from serving.dataplane.requests.binding import Binder
from serving.dataplane.requests.pending import Pending
from serving.dataplane.requests.rejections import no_replica, queue_full
from serving.dataplane.requests.response import Responder
from serving.dataplane.requests.timeout import shorter
from serving.errors import InvalidInput, QueueFull, VigilError
from serving.models.blank_row import no_rows
from serving.models.consumers import GUARD_RATE, consumers, rated_guards
from serving.models.guards.build import gateway_guards
from serving.models.logged import kept_inputs, told_inputs, told_outputs
from serving.protocol.datatypes import numpy_dtype
from serving.protocol.messages import InferRequest, InferResponse, Parameters
from serving.telemetry.counters import SeriesSet


class ServedVersion:
    """A model version that this gateway answers for with replicas; an `Endpoint`.

    Args:
        served: name, version, configuration and example from the directory.
        series: where its metrics are kept.
        publisher: takes its prediction events.
        statistics: times of its batches, shared by all revisions of the version.
        ends: how replicas ended.
        traces: which requests are traced, and who takes the spans; None: none are.

    Raises:
        InvalidInput: its example is no request of the model.

    Attributes:
        spans: makes the spans of its requests; None where none are traced.
        disproved: whether the last replica that was tried has failed the example.
    """

    def __init__(
        self,
        served: ServedModel,
        series: SeriesSet,
        publisher: EventPublisher,
        statistics: BatchStatistics,
        ends: ReplicaEnds | None = None,
        traces: RequestTraces | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.name = served.name
        self.version = served.version
        self.key = served.key
        self.config = decode_config(served.config)
        self.binder = Binder(served.name, self.config)
        self.specs = {spec.name: spec for spec in self.config.inputs}
        self._responder = Responder(served.name, served.version, self.config)
        metrics, log = Metrics(series, served.name, served.version), FailureLog()
        datatypes = {spec.name: spec.datatype for spec in self.config.outputs}
        self.statistics = statistics
        self._batch_hooks: tuple[BatchHook, ...] = (
            metrics,
            OutputQuality(series, served.name, served.version, datatypes),
            statistics,
            log,
        )
        refusal_hooks: tuple[RefusalHook, ...] = (metrics, log)
        if self.config.slo is not None:
            objectives = Objectives(series, served.name, served.version, self.config.slo)
            self._batch_hooks += (objectives,)
            refusal_hooks += (objectives,)
        logged = self.config.log is not None
        rated = rated_guards(self.config) if GUARD_RATE in consumers(self.config) else ()
        if logged or consumers(self.config):
            events = Events(
                served.key,
                publisher,
                inputs=told_inputs(self.config),
                outputs=told_outputs(self.config),
                logged=logged,
                kept=kept_inputs(self.config),
                guards=rated,
            )
            self._batch_hooks += (events,)
            if logged or rated:
                refusal_hooks += (events,)
        self.spans: RequestSpans | None = None
        if traces is not None:
            self.spans = spans = RequestSpans(served.name, served.version, self.config, traces)
            self._batch_hooks += (spans,)
            exemplars = Exemplars(metrics)
            self._batch_hooks += (exemplars,)
            refusal_hooks += (spans, exemplars)
        self._sample = None if traces is None else traces.sampler.sample
        guards = tuple(guard.name for guard in self.config.guards)
        self.recorder = Recorder(
            served.key,
            EventCounters(series, served.name, served.version, guards),
            self._batch_hooks,
            refusal_hooks,
            self.binder.input_names,
            logged=logged,
        )
        batching = self.config.batching
        self.batcher = Batcher(
            served.name,
            self.binder.input_names,
            batching,
            gateway_guards(self.config),
            self.recorder,
            row_bytes(self.config),
            served.version,
            # What a replica of a model on another server is lost with was not computed in it.
            self.config.replicas if self.config.remote is None else None,
            ends,
        )
        if self.config.remote is not None:
            self.batcher.dispatcher.trace = pass_on if traces is None else traces.tell_upstream
        self.queue = self.batcher.queue
        self._passes_credentials = self.config.passes_credentials
        self._fair = batching.fair_share == "client"
        self._levels = batching.priority_levels
        self._level = batching.default_priority_level or self._levels
        self._probe = Probe(self.name, self.version, self.config, self.binder, served.example)
        self.disproved = False
        self.problem = "no replica yet"

    # -- as an endpoint -----------------------------------------------------------------

    def begin(self, request: InferRequest, context: RequestContext, arm: str = "") -> Ticket:
        """Check one request and queue it; see `Endpoint.begin`.

        Raises:
            InvalidInput: it does not fit the model, or its priority is none of the model's.
            VigilError: what `Batcher.submit` raises.
        """
        started = time.monotonic()
        if self._sample is not None:
            ids = self._sample(context.traceparent)
            if ids is not None:
                context = in_span(context, ids, request)
        try:
            bound = (
                self.binder.bind(request, context.credential)
                if self._passes_credentials
                else self.binder.bind(request)
            )
            timeout_s = None if context.deadline is None else context.deadline - started
            parameters = request.parameters
            if parameters and "timeout" in parameters:
                timeout_s = shorter(timeout_s, parameters["timeout"])
            future: asyncio.Future[Answer] = self._loop.create_future()
            flow = context.client if self._fair else ""
            item = Pending(request.id, bound, future, started, flow, context, arm)
            if self._levels or (parameters and "priority" in parameters):
                self._set_priority(item, parameters)
            if bound.rows:
                self.batcher.submit(item, timeout_s)
            else:
                self._answer_no_rows(item)
        except VigilError as error:
            self._refused(error, time.monotonic() - started, request, context, arm)
            raise
        return Ticket(request, self, started, item, bound.outputs)

    def _refused(
        self,
        error: VigilError,
        waited_s: float,
        request: InferRequest,
        context: RequestContext,
        arm: str,
    ) -> None:
        """Record a request that was read and is not admitted."""
        fitting = partial(self.binder.fitting, request)
        self.recorder.refused(error, waited_s, request.id, context, arm=arm, fitting=fitting)

    def finish(self, ticket: Ticket) -> InferResponse:
        """Return the answer of a ticket that is answered; see `Endpoint.finish`.

        Raises:
            VigilError: whatever went wrong.
        """
        try:
            answer: Answer = ticket.item.future.result()
        except VigilError as error:
            waited_s = time.monotonic() - ticket.started
            self.recorder.failed(_pending(ticket), error, waited_s)
            # The future keeps its error, and frames that an error has passed know the future.
            error.__traceback__ = None
            raise error.anew(logged=True) from None  # by its record
        return self._responder.respond(ticket.request, ticket.kept, answer)

    def abandon(self, ticket: Ticket) -> None:
        """Record a request that its client gave up."""
        self.recorder.given_up(_pending(ticket), time.monotonic() - ticket.started)

    def refuse_unread(self, waited_s: float) -> QueueFull:
        """Record a request that waited in vain for room in the queue; return its error."""
        error = queue_full(self.name)
        self.recorder.refused(error, waited_s)
        return error

    def traced_by(self, tracer: Tracer | None) -> None:
        """Have `tracer` told of every batch from now on; None: nobody traces."""
        hooks = self._batch_hooks
        self.recorder.batch_hooks = hooks if tracer is None else (*hooks, tracer)

    def may_make_room(self, client: str, body: bytes | memoryview) -> bool:
        """Whether a full queue might take a request all the same that has not been read yet.

        A client that has less than its share of the queue, or a higher priority than something that
        waits, gets room. Its priority would be in the body, so a body that has the word is read.
        """
        flow: Hashable = client if self._fair else ""
        if self._levels:
            if b"priority" in bytes(body):
                return True
            flow = (self._level, flow)
        return self.queue.may_make_room(flow)

    def _answer_no_rows(self, item: Pending) -> None:
        """Give every output without a row; many models cannot compute none at all."""
        if not (self.ready or self.batcher.admits):
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
        item.flow = (item.priority, item.flow)

    # -- its replicas -------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether a proven replica is there."""
        return bool(self.batcher.links)

    async def prove(self, link: ReplicaLink) -> bool:
        """Run the example on a new replica; it gets traffic only when that has worked."""
        problem = await self._probe.run(link)
        self.disproved = problem is not None
        self.problem = problem or self.problem
        return not self.disproved

    async def reaches(self, link: ReplicaLink) -> bool:
        """Ask a replica of a model on another server whether that can be reached."""
        problem = await self._probe.reach(link)
        self.problem = problem or self.problem
        return problem is None


def _pending(ticket: Ticket) -> Pending:
    assert isinstance(ticket.item, Pending)  # it was made here
    return ticket.item


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
