"""The one transport-free handler: every ingress converts, calls it, and converts back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from serving.channel.endpoint import connect
from serving.channel.messages.control import DeadlyMeta
from serving.channel.messages.directory import LEAVING, Directory, ModelKey, ServedModel
from serving.config import ModelConfig
from serving.dataplane.batching.batch import Pending
from serving.dataplane.batching.deadly_requests import Deadly
from serving.dataplane.context import NO_CONTEXT, RequestContext
from serving.dataplane.explainers import ExplainerPool
from serving.dataplane.hooks.publisher import EventPublisher
from serving.dataplane.hooks.queue_gauges import QueueGauges
from serving.dataplane.hooks.statistics import BatchStatistics
from serving.dataplane.hooks.tracing import Tracing
from serving.dataplane.links.link import ChannelLink, ReplicaLink
from serving.dataplane.links.pool import LinkPool
from serving.dataplane.links.replica_ends import ReplicaEnds
from serving.dataplane.queue.waiting_room import WaitingRoom
from serving.dataplane.requests.answer import Answer
from serving.dataplane.requests.classification import as_asked
from serving.dataplane.requests.passthrough import with_remarks, without_row_axis
from serving.dataplane.requests.rejections import queue_full
from serving.dataplane.served import ServedVersion
from serving.errors import (
    InvalidInput,
    ModelNotReady,
    QueueFull,
    VersionNotFound,
    VigilError,
    unknown_model,
)
from serving.protocol.messages import InferRequest, InferResponse, Tensor
from serving.protocol.repository import ControlMeta
from serving.telemetry.counters import SeriesSet
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report
from serving.telemetry.series import Series

RETRY_S = 1.0
NOTHING_SAID = "the hub has not said yet what is served"


class Ticket:
    """An admitted request: what it asked for, and what gets its answer."""

    __slots__ = ("entry", "item", "outputs", "request", "started")

    def __init__(
        self,
        request: InferRequest,
        entry: ServedVersion,
        outputs: tuple[str, ...],
        started: float,
        item: Pending,
    ) -> None:
        self.request = request
        self.entry = entry
        self.outputs = outputs
        self.started = started
        self.item = item

    def then(self, callback: Callable[[], None]) -> None:
        """Have `callback` called when there is an answer for `finish`; it must not raise.

        It is called in the loop's turn in which the answer comes: a future's callbacks would be a
        turn later, behind everything else that has arrived by then.
        """
        if self.item.future.done():
            asyncio.get_running_loop().call_soon(callback)
        else:
            self.item.on_done = callback

    def cancel(self) -> None:
        """Give it up: nobody waits for the answer any more, and nobody is told."""
        self.item.on_done = None
        if self.item.future.cancel():
            self.entry.recorder.given_up(self.item, time.monotonic() - self.started)


class DataPlane:
    """Everything a gateway answers with. Belongs to one event loop.

    Args:
        gateway_id: name of this gateway in events and metrics.
        secret: the cluster's secret for TCP channels; None on one host.
        channel: whether replicas are reached over channels; False when links are added by
            whoever composed this data plane (`add_link`).
    """

    def __init__(
        self, gateway_id: str, secret: bytes | None = None, *, channel: bool = True
    ) -> None:
        self.gateway_id = gateway_id
        self.server_name = "vigil"
        self.series = SeriesSet()
        # Of versions that are gone as well: one that comes back goes on counting, as its series do.
        self._statistics: dict[tuple[str, str], BatchStatistics] = {}
        self._gauges = QueueGauges(self.series)
        self.publisher = EventPublisher(gateway_id, self.series, secret)
        self.explainers = ExplainerPool(secret)
        self._tracing = Tracing(gateway_id)
        self._channel = channel
        self._models: dict[str, dict[str, ServedVersion]] = {}
        self.crowded: set[WaitingRoom] = set()
        """Queues that have refused somebody lately."""
        self._directory = Directory()
        self._proofs: set[asyncio.Task[None]] = set()
        self._pool = LinkPool(
            lambda address, lost: connect(address, secret, on_closed=lost),
            self._link_up,
            self._link_down,
            lambda: self._look_again_in(RETRY_S),
        )
        self._entry_of: dict[ChannelLink, ServedVersion] = {}
        self._refused: dict[ModelKey, str] = {}
        self._candidates: dict[ModelKey, ServedVersion] = {}
        self._retiring: list[ServedVersion] = []
        self.ends = ReplicaEnds()
        self.draining = False
        self.stopping = asyncio.Event()
        self.on_ready_change: Callable[[], None] = lambda: None
        self._changed: asyncio.Future[None] | None = None
        self.on_follow: Callable[[], None] = lambda: None
        self.on_directory: Callable[[Directory], None] = lambda _directory: None
        """Called with every directory that was taken in; may add and remove links."""
        self.on_deadly: Callable[[DeadlyMeta], None] = lambda _deadly: None
        self.control: Callable[[ControlMeta], Awaitable[Any]] = _no_hub

    # -- composition --------------------------------------------------------------------

    def apply(self, directory: Directory) -> None:
        """Take in a new directory: serve its models, reach its replicas, forget what is gone."""
        before = self._directory
        self._directory = directory
        self.ends.told = directory.tells_ends
        tried = {served.key: served for served in directory.candidates}
        wanted = {served.key: served for served in directory.models}
        self._refused = {k: why for k, why in self._refused.items() if k in wanted or k in tried}
        for served in directory.models:
            self._serve(served)
        for served in directory.candidates:
            self._try(served)
        named = {(name, version) for name, version, _ in wanted}
        for entry in self.entries():
            if (entry.name, entry.version) not in named:
                del self._models[entry.name][entry.version]
                if not self._models[entry.name]:
                    del self._models[entry.name]
                self._retire(entry)
        for key in [key for key in self._candidates if key not in tried and key not in wanted]:
            self._retire(self._candidates.pop(key))
        if self._channel:
            for member in directory.of_role("replica"):
                known = self.find(member.key)
                if known is not None:
                    self._pool.open(*member.key, member.id, member.address, known.specs)
        self._tracing.follow(directory.settings)
        for entry in (*self.entries(), *self._candidates.values()):
            tracer = self._tracing.tracer(entry.name, entry.version, entry.config)
            entry.traced_by(tracer)
        self.publisher.on_directory(directory)
        self.explainers.on_directory(directory)
        if before.leaving == directory.leaving:
            self._wake_watchers()
        else:
            self.ready_changed()
        report(
            Event.DIRECTORY_FOLLOWED,
            "this gateway follows a new directory",
            generation=directory.generation,
            models=len(directory.models),
            candidates=len(directory.candidates),
            members=len(directory.members),
        )
        if (before.models, before.candidates) != (directory.models, directory.candidates):
            # Whoever changed what is served waits until every gateway has followed.
            self.on_follow()
        self.on_directory(directory)

    def find(self, key: ModelKey) -> ServedVersion | None:
        """Return the entry of a revision, whether it answers already or is a candidate."""
        active = self._models.get(key[0], {}).get(key[1])
        if active is not None and active.key == key:
            return active
        return self._candidates.get(key)

    def _serve(self, served: ServedModel) -> None:
        versions = self._models.get(served.name, {})
        active = versions.get(served.version)
        if active is not None and active.key == served.key:
            return
        self._try(served)
        entry = self._candidates.get(served.key)
        # A revision takes the place of another only when it can answer, or the other cannot.
        if entry is None or (active is not None and active.ready and not entry.ready):
            return
        del self._candidates[served.key]
        self._models.setdefault(served.name, versions)[served.version] = entry
        if active is not None:
            self._retire(active)

    def _try(self, served: ServedModel) -> None:
        """Make an entry that answers nobody yet, so that its replicas can be proven."""
        if served.key in self._refused or self.find(served.key) is not None:
            return
        try:
            statistics = self._statistics.setdefault(served.key[:2], BatchStatistics())
            entry = ServedVersion(served, self.series, self.publisher, statistics, self.ends)
            entry.queue.crowded = self.crowded
        except Exception as error:  # noqa: BLE001 - the other models are served all the same
            report(
                Event.VERSION_UNPROVEN,
                "this gateway cannot serve a version: its configuration or example is wrong",
                model=served.name,
                version=served.version,
                error=error,
            )
            self._refused[served.key] = str(error)
            return
        entry.queue.on_deadly = lambda deadly: self.on_deadly(
            DeadlyMeta(*served.key, deadly.digest, deadly.sample, deadly.how)
        )
        self._candidates[served.key] = entry

    def note_deadly(self, told: DeadlyMeta) -> None:
        """Refuse a request from now on by which another gateway has lost a replica."""
        entry = self.find((told.model, told.version, told.revision))
        if entry is not None:
            entry.queue.refuse_deadly(Deadly(told.digest, told.sample, told.how))

    def _retire(self, entry: ServedVersion) -> None:
        """Close an entry's links once everything that was admitted is answered."""
        links = self._pool.release(*entry.key)
        self._retiring.append(entry)

        def close() -> None:
            for link in links:
                link.connection.close()
            self._retiring.remove(entry)
            self.crowded.discard(entry.queue)
            self.on_follow()

        entry.queue.retire(close)

    def add_link(self, name: str, version: str, link: ReplicaLink, revision: str = "") -> None:
        """Prove a link by running the model's example over it, then give it traffic."""
        task = asyncio.get_running_loop().create_task(self.prove((name, version, revision), link))
        self._proofs.add(task)
        task.add_done_callback(self._proofs.discard)

    async def prove(self, key: ModelKey, link: ReplicaLink) -> None:
        """Run the example over a link, and give it traffic if that has worked."""
        entry = self.find(key)
        proven = entry is not None and await entry.prove(link)
        # While it was proved the link may have been lost, or the model removed.
        current = self.find(key) is entry
        if entry is not None and proven and current and link.open:
            if isinstance(link, ChannelLink):
                self._entry_of[link] = entry
            self.ends.forget(link.id)
            entry.queue.add_link(link)
            if key in self._candidates:  # it may be what its predecessor waits for
                self._look_again()
            self.ready_changed()
        else:
            if isinstance(link, ChannelLink):
                link.connection.close()
            if key in self._candidates:
                self.on_follow()

    def _link_up(self, key: ModelKey, link: ChannelLink) -> None:
        self.add_link(key[0], key[1], link, key[2])

    def _link_down(self, _key: ModelKey, link: ChannelLink) -> None:
        # Not looked up by name: its model may have been removed, and replaced, in the meantime.
        entry = self._entry_of.pop(link, None)
        if entry is not None:
            entry.queue.remove_link(link)
            self.ready_changed()
        # The connection may have broken although the replica lives: look again, at once after
        # good work, with a pause when the replica has never got through its example.
        self._look_again_in(0.1 if entry is not None else RETRY_S)

    def _look_again_in(self, seconds: float) -> None:
        if not self.draining:
            asyncio.get_running_loop().call_later(seconds, self._look_again)

    def _look_again(self) -> None:
        if not self.draining:
            self.apply(self._directory)

    @property
    def leaving(self) -> bool:
        """Whether a drain follows soon; until then everything is answered."""
        return self._directory.leaving

    def drain(self) -> None:
        """Be not ready and let streams end; what is under way is finished."""
        self.stopping.set()
        self.ready_changed()

    @property
    def changed(self) -> asyncio.Future[None]:
        """Done as soon as what is ready may have changed; ask again to wait for the next time."""
        if self._changed is None or self._changed.done():
            self._changed = asyncio.get_running_loop().create_future()
        return self._changed

    def ready_changed(self) -> None:
        """Tell everybody who waits that what is ready may have changed."""
        self._wake_watchers()
        self.on_ready_change()

    def _wake_watchers(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    def close(self) -> None:
        """Close every connection."""
        self.draining = True
        self._pool.close()
        self._tracing.close()
        self.publisher.close()
        self.explainers.close()

    # -- models -------------------------------------------------------------------------

    def entries(self) -> list[ServedVersion]:
        """Return everything that is served."""
        return [entry for versions in self._models.values() for entry in versions.values()]

    def resolve(self, name: str, version: str = "") -> ServedVersion:
        """Return the entry of a model; an empty version is the newest that is ready.

        Raises:
            ModelNotFound, VersionNotFound: nothing of that name is served.
            ModelNotReady: nobody has said yet what is.
        """
        versions = self._models.get(name)
        if versions is None:
            if not self._directory.generation:
                raise ModelNotReady(f"{NOTHING_SAID}; retry later", retry_after_s=1)
            raise unknown_model(name[:200])
        if version:
            entry = versions.get(version)
            if entry is None and not (version.isascii() and version.isdigit()):
                # The beginning is Triton's: its examples look for it.
                raise VersionNotFound(
                    "failed to get model version from specified version string "
                    f"'{version[:40]}': versions are whole numbers; it has "
                    + ", ".join(sorted(versions))
                )
            if entry is None:
                raise VersionNotFound(
                    f"Request for unknown model: '{name[:200]}' version '{version[:40]}' is not "
                    f"found; it has {', '.join(sorted(versions))}"
                )
            return entry
        if len(versions) == 1:
            return next(iter(versions.values()))
        # A version that is still loading, or never will, must not take the place of one that works.
        ready = [number for number, entry in versions.items() if entry.ready]
        return versions[max(ready or versions, key=int)]

    def versions(self, name: str) -> list[str]:
        """Return the served versions of a model, oldest first."""
        return sorted(self._models.get(name, ()), key=int)

    @property
    def served_keys(self) -> set[tuple[str, str]]:
        """Name and version of everything that is served."""
        return {(entry.name, entry.version) for entry in self.entries()}

    @property
    def refused(self) -> dict[tuple[str, str], str]:
        """Model versions that should be served and cannot be here, and why."""
        wanted = {served.key for served in self._directory.models}
        return {key[:2]: why for key, why in self._refused.items() if key in wanted}

    def status(self) -> dict[str, Any]:
        """Return what the hub must know of the models here, as plain values.

        `generation` is the directory that was applied last, `candidates` holds one
        (name, version, revision, state, reason) for each, `retiring` the keys of what still
        answers what it had admitted, `unready` one (name, version, reason) for each version that
        should answer and cannot, and `disproved` the keys of those of them that have failed.
        """
        tried = [served.key for served in self._directory.candidates]
        unready = [(e.name, e.version, e.problem) for e in self.entries() if not e.ready]
        disproved = [e.key for e in self.entries() if e.disproved and not e.ready]
        wanted = {served.key for served in self._directory.models}
        return {
            "generation": self._directory.generation,
            "candidates": [(*key, *self._standing(key)) for key in tried],
            "retiring": [entry.key for entry in self._retiring],
            "unready": unready + [(*key, why) for key, why in self.refused.items()],
            "disproved": disproved + [key for key in self._refused if key in wanted],
        }

    def _standing(self, key: ModelKey) -> tuple[str, str]:
        entry = self.find(key)
        if entry is None:
            return "UNAVAILABLE", self._refused.get(key, "")
        if entry.ready:
            return "READY", ""
        return ("UNAVAILABLE" if entry.disproved else "LOADING"), entry.problem

    def ready(self) -> tuple[bool, list[str]]:
        """Whether an inference through every required model has worked; reasons when not."""
        if self.draining or self.stopping.is_set():
            return False, ["the gateway is draining"]
        if self.leaving:
            return False, [LEAVING]
        if not self._directory.generation:
            return False, [NOTHING_SAID]
        reasons = [
            f"model '{entry.name}': {entry.problem}"
            for entry in self.entries()
            if entry.config.required and not entry.ready
        ]
        reasons += [
            f"model '{name}': {why}"
            for (name, version), why in self.refused.items()
            if name not in self._models and not self._is_optional(name, version)
        ]
        reasons += self._directory.missing
        return not reasons, reasons

    def _is_optional(self, name: str, version: str) -> bool:
        configs = (
            each.config for each in self._directory.models if each.key[:2] == (name, version)
        )
        try:
            return not any(ModelConfig.model_validate_json(each).required for each in configs)
        except ValueError:  # it may be refused for just that
            return False

    # -- inference ----------------------------------------------------------------------

    async def infer(
        self, request: InferRequest, context: RequestContext = NO_CONTEXT
    ) -> InferResponse:
        """Answer one request.

        Args:
            request: decoded, not yet checked against the model.
            context: what it came with; the request parameter `timeout` (microseconds) may be
                earlier than its deadline.

        Raises:
            VigilError: whatever went wrong, as the domain's exception.
        """
        ticket = self.begin(request, context)
        try:
            await ticket.item.future
        except VigilError:
            pass  # `finish` records and raises it
        except asyncio.CancelledError:
            ticket.entry.recorder.given_up(ticket.item, time.monotonic() - ticket.started)
            raise
        return self.finish(ticket)

    def begin(self, request: InferRequest, context: RequestContext = NO_CONTEXT) -> Ticket:
        """Admit one request; `finish` takes the ticket once it is answered.

        The arguments are those of `infer`.

        Raises:
            VigilError: it is refused.
        """
        started = time.monotonic()
        entry = self.resolve(request.model_name, request.model_version)
        try:
            bound = entry.binder.bind(request)
            timeout_s = None if context.deadline is None else context.deadline - started
            parameters = request.parameters
            if parameters and "timeout" in parameters:
                timeout_s = shorter(timeout_s, parameters["timeout"])
            item = entry.admit(request, bound, started, timeout_s, context)
        except VigilError as error:
            entry.recorder.refused(error, time.monotonic() - started, request.id, context)
            raise
        return Ticket(request, entry, bound.outputs, started, item)

    def refuse_unread(self, entry: ServedVersion, waited_s: float) -> QueueFull:
        """Record a request that waited in vain for room in a queue; return its error."""
        error = queue_full(entry.name)
        entry.recorder.refused(error, waited_s)
        return error

    def finish(self, ticket: Ticket) -> InferResponse:
        """Return the answer of a ticket that is answered.

        Raises:
            VigilError: whatever went wrong.
        """
        try:
            answer = ticket.item.future.result()
        except VigilError as error:
            ticket.entry.recorder.failed(ticket.item, error, time.monotonic() - ticket.started)
            # The future keeps its error, and frames that an error has passed know the future.
            error.__traceback__ = None
            raise error.anew() from None
        return _respond(ticket.request, ticket.entry, ticket.outputs, answer)

    def snapshot(self) -> tuple[Series, ...]:
        """Return every series of this gateway, gauges brought up to date."""
        self._gauges.update((*self.entries(), *self._retiring))
        return self.series.snapshot()


async def _no_hub(_asked: ControlMeta) -> Any:
    raise ModelNotReady("this gateway has no hub that could do it")


def shorter(timeout_s: float | None, microseconds: object) -> float | None:
    """Return the shorter of a transport's time in seconds and a request's parameter `timeout`.

    Raises:
        InvalidInput: the parameter is no whole number, or below 0.
    """
    if isinstance(microseconds, bool) or not isinstance(microseconds, int) or microseconds < 0:
        raise InvalidInput("parameter timeout must be a whole number of microseconds, 0 or more")
    if microseconds == 0:  # the protocol's "no timeout"
        return timeout_s
    asked = microseconds / 1e6
    return asked if timeout_s is None else min(asked, timeout_s)


def _respond(
    request: InferRequest, entry: ServedVersion, wanted: tuple[str, ...], answer: Answer
) -> InferResponse:
    types = entry.output_types
    given = answer.outputs
    if len(types) == 1:  # nearly every model
        [(name, datatype)] = types.items()
        array = given[name]
        outputs: tuple[Tensor, ...] = (Tensor(name, datatype, array.shape, array),)
    else:
        outputs = tuple(
            [Tensor(name, types[name], given[name].shape, given[name]) for name in wanted or types]
        )
    version = entry.version
    parameters: dict[str, Any] | None = None
    if answer.remarks is not None:
        outputs = with_remarks(outputs, answer.remarks)
        parameters = answer.remarks.parameters or None
        version = answer.remarks.version or version
    if request.outputs:
        outputs = as_asked(request.outputs, outputs, entry.classes)
    if not entry.row_axis:
        outputs = without_row_axis(outputs)
    if answer.flags and entry.config.expose_flags:
        parameters = {**(parameters or {}), "vigil_flags": ",".join(answer.flags)}
    return InferResponse(entry.name, version, request.id, outputs, parameters)
