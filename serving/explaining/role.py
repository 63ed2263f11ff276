"""The explainer role: attributions from a private copy of one model, in a process of its own.

Hooks and backward passes on a module that serves would break live predictions, and thousands of
evaluations would hold them up, so explanations never share one. They are computed in one worker
thread; the loop goes on to answer.
"""

from __future__ import annotations

import asyncio
import math
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec

from explain.attribution import (
    Attribution,
    CannotExplain,
    Explainer,
    ExplanationTooLong,
    IncompleteAttribution,
)
from serving.channel.connection import Connection
from serving.channel.endpoint import ChannelServer
from serving.channel.frame_parts import Message
from serving.channel.messages.directory import Member, ServedModel
from serving.channel.messages.explanation import EXPLAIN, ExplainMeta
from serving.channel.messages.reports import ExplainerStatus, Report
from serving.channel.registry_client import RegistryClient
from serving.errors import (
    DeadlineExceeded,
    InvalidInput,
    ModelFailed,
    ModelNotReady,
    Overloaded,
    Unsupported,
    VigilError,
    cause_of,
)
from serving.explaining.methods.offered import explainers
from serving.explaining.request import Question, read_question, write_answer
from serving.models.contract import UpstreamModel
from serving.models.execution.core_limit import hold_torch
from serving.models.formats.libraries import import_before_fork
from serving.models.formats.loader import load
from serving.models.preparation.deviation import as_made
from serving.models.profile.files import read_baseline
from serving.roles.load_failure import tell_failed
from serving.roles.served_entry import served_entry
from serving.telemetry.counters import SeriesSet
from serving.telemetry.logs.causes import Cause, describe
from serving.telemetry.metrics.cost import EXPLAINER
from serving.telemetry.metrics.explanations import (
    EXPLAIN_COMPLETENESS_ERROR,
    EXPLAIN_DURATION,
    EXPLAIN_QUEUE_DEPTH,
)
from serving.telemetry.process import ProcessSeries
from serving.telemetry.process_title import set_title
from serving.telemetry.processor_time import ModelProcessorTime

MAX_WAITING: Final = 64
"""Explanations that may be under way; more are refused."""
DRAIN_S: Final = 5.0
MOST_TEXT: Final = 300

_decode_meta = msgspec.msgpack.Decoder(ExplainMeta).decode


class ExplainerRole:
    """One explainer.

    Args:
        served: the model version to explain.
        member_id: unique name of this explainer.
        address: where to listen, `unix:...` or `tcp:host:port`.
        registry_address: where the control plane listens.
        secret: the cluster's secret for TCP channels.
        max_waiting: explanations that may be under way.
        device: where to compute; None takes the configured device.
    """

    def __init__(
        self,
        served: ServedModel,
        member_id: str,
        address: str,
        registry_address: str,
        secret: bytes | None = None,
        *,
        max_waiting: int = MAX_WAITING,
        device: str | None = None,
    ) -> None:
        self._entry = served_entry(served)
        self._revision = served.revision
        self._id = member_id
        self._address = address
        self._registry_address = registry_address
        self._secret = secret
        self._max_waiting = max_waiting
        self._device = device or self._entry.config.replicas.device
        self._mean = read_baseline(self._entry)
        self._explainers: dict[str, Explainer] = {}
        self._upstream: UpstreamModel | None = None
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="explain")
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = ChannelServer(self._message, slots=max_waiting, secret=secret)
        self._registry: RegistryClient | None = None
        self._series = SeriesSet()
        base = {"model": served.name, "version": served.version}
        self._duration = self._series.histogram(EXPLAIN_DURATION, **base)
        self._error = self._series.histogram(EXPLAIN_COMPLETENESS_ERROR, **base)
        self._depth = self._series.gauge(EXPLAIN_QUEUE_DEPTH, **base)
        self._process = ProcessSeries(
            self._series, "explainer", member_id, served.name, served.version
        )
        self._spent = ModelProcessorTime(self._series, EXPLAINER, served.name, served.version)
        self._typical_s = 0.05

    def load(self) -> None:
        """Load the private copy; blocks.

        Raises:
            ConfigError: files are missing, damaged or do not fit the configuration.
        """
        import_before_fork(self._entry.config.format)
        hold_torch(1)
        # Gradients are those of the model as it was made, not of a converted or compiled one.
        model = load(as_made(self._entry), self._device)
        self._explainers = explainers(self._entry.config, model)
        self._upstream = model if isinstance(model, UpstreamModel) else None

    async def start(self) -> str:
        """Listen and register; returns the address. `load` must have run."""
        address = await self._server.start(self._address)
        entry = self._entry
        member = Member(
            role="explainer",
            id=self._id,
            pid=os.getpid(),
            address=address,
            model=entry.name,
            version=entry.version,
            slots=self._max_waiting,
            revision=self._revision,
        )
        self._registry = RegistryClient(self._registry_address, self._secret, member, self._report)
        self._registry.start()
        return address

    async def stop(self) -> None:
        """Finish what is under way, within bounds, and leave."""
        self._server.goaway()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=DRAIN_S)
        if self._registry:
            await self._registry.stop()
        self._server.close()
        self._worker.shutdown(wait=False, cancel_futures=True)

    def _report(self) -> Report:
        self._depth.set(len(self._tasks))
        self._process.update()
        self._spent.update()
        return Report(True, self._series.snapshot(), ExplainerStatus(len(self._tasks)))

    def _message(self, connection: Connection, message: Message) -> None:
        try:
            question, timeout_s = self._admit(message)
        except VigilError as error:
            connection.fail(message.id, error)
            return
        task = asyncio.get_running_loop().create_task(
            self._answer(connection, message.id, question, timeout_s)
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _admit(self, message: Message) -> tuple[Question, float | None]:
        name = self._entry.name
        if message.kind != EXPLAIN:
            raise Unsupported(f"an explainer does not answer '{message.kind}'")
        if len(self._tasks) >= self._max_waiting:
            raise Overloaded(
                f"the explainer of model '{name}' has {len(self._tasks)} explanations waiting; "
                f"retry later",
                retry_after_s=max(1.0, self._typical_s * len(self._tasks)),
            )
        try:
            meta = _decode_meta(message.meta)
        except msgspec.ValidationError as error:
            raise InvalidInput(f"explain: {error}") from None
        offered = list(self._explainers)
        question = read_question(meta, message.tensors, self._entry.config, self._mean, offered)
        return question, meta.timeout_s

    async def _answer(
        self, connection: Connection, ident: int, question: Question, timeout_s: float | None
    ) -> None:
        loop = asyncio.get_running_loop()
        until = math.inf if timeout_s is None else time.monotonic() + timeout_s
        try:
            seconds, found, version = await loop.run_in_executor(
                self._worker, self._explain, question, until
            )
            self._duration.record(seconds)
            self._typical_s += 0.2 * (seconds - self._typical_s)
            self._error.record_many(found.relative_error)
            connection.reply(ident, *write_answer(found, question.baseline, version))
        except ModelFailed as error:
            # The gateway writes the line, because it knows the request.
            error.cause = cause_of(error)
            connection.fail(ident, error)
        except VigilError as error:
            connection.fail(ident, error)
        except Exception as error:  # noqa: BLE001 - the peer must get an answer whatever it was
            failed = _failed(error)
            failed.cause = describe(error)
            connection.fail(ident, failed)

    def _explain(self, question: Question, until: float) -> tuple[float, Attribution, str]:
        """Compute, unless `until` (monotonic seconds) is over; runs in the worker thread.

        Returns seconds, attributions, and the version where it is not the served one.
        """
        if time.monotonic() >= until:
            raise DeadlineExceeded("nobody waits for this explanation any more")
        started = time.perf_counter()
        if self._upstream is not None:
            self._upstream.answered_by.clear()
            self._upstream.traceparent = question.traceparent
        try:
            found = self._explainers[question.method].explain(
                question.inputs, question.target, question.baselines, question.effort
            )
        except IncompleteAttribution as error:
            failed = ModelFailed(str(error))
            told = f"the attributions of model '{self._entry.name}' do not add up"
            failed.cause = Cause("IncompleteAttribution", told=told)
            raise failed from None
        except ExplanationTooLong as error:
            raise DeadlineExceeded(str(error)) from None
        except CannotExplain as error:
            raise InvalidInput(str(error)) from None
        except VigilError:
            raise
        except BaseException as error:
            # Also `sys.exit` in the model's own code, which would end the loop. Whatever is to
            # end the process reaches its main thread, and not this one.
            raise _failed(error) from error
        return time.perf_counter() - started, found, self._version()

    def _version(self) -> str:
        """Return the version that another server has explained; empty where it is the served one.

        Raises:
            ModelNotReady: it was more than one, so the attributions are of none.
        """
        versions = sorted(self._upstream.answered_by) if self._upstream is not None else []
        if len(versions) > 1:
            raise ModelNotReady(
                f"the upstream server changed the version of model '{self._entry.name}' during "
                f"the explanation ({', '.join(versions[:5])}); ask again",
                retry_after_s=1,
            )
        return "" if versions in ([], [self._entry.version]) else versions[0]


def _failed(error: BaseException) -> ModelFailed:
    text = " ".join(str(error).split())[:MOST_TEXT]
    return ModelFailed(f"the explanation failed: {type(error).__name__}: {text}")


def run(
    served: ServedModel, member_id: str, address: str, registry_address: str, secret: bytes | None
) -> None:
    """Be an explainer process until SIGTERM: load, answer, drain."""
    import uvloop

    set_title("explainer", served.name, served.version)
    role = ExplainerRole(served, member_id, address, registry_address, secret)
    try:
        role.load()
    except Exception as error:  # noqa: BLE001 - whatever it was, this process ends with it
        tell_failed(served, error, registry_address, secret, "explainer")
        sys.exit(1)

    async def serve() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        await role.start()
        await stop.wait()
        await role.stop()

    uvloop.run(serve())
