"""The one transport-free handler: every ingress converts, calls it, and converts back."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from serving.channel.directory import Directory, Series, ServedModel
from serving.channel.endpoint import connect
from serving.dataplane.batch import Answer, Receive
from serving.dataplane.classification import as_asked
from serving.dataplane.explainers import ExplainerPool
from serving.dataplane.links import ChannelLink, LinkPool, ReplicaLink
from serving.dataplane.publisher import EventPublisher
from serving.dataplane.served import ServedVersion
from serving.errors import (
    InvalidInput,
    VersionNotFound,
    VigilError,
    unknown_model,
)
from serving.protocol.messages import InferRequest, InferResponse, Tensor
from serving.telemetry import names
from serving.telemetry.counters import SeriesSet

RETRY_S = 1.0
_log = logging.getLogger("vigil.gateway")


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
        self.series = SeriesSet()
        self.publisher = EventPublisher(gateway_id, self.series, secret)
        self.explainers = ExplainerPool(secret)
        self._channel = channel
        self._models: dict[str, dict[str, ServedVersion]] = {}
        self._directory = Directory()
        self._proofs: set[asyncio.Task[None]] = set()
        self._pool = LinkPool(
            lambda address, lost: connect(address, secret, on_closed=lost),
            self._link_up,
            self._link_down,
            lambda: self._look_again_in(RETRY_S),
        )
        self._entry_of: dict[ChannelLink, ServedVersion] = {}
        self._refused: dict[tuple[str, str], str] = {}
        self.draining = False
        self.stopping = asyncio.Event()
        self.on_ready_change: Callable[[], None] = lambda: None

    # -- composition --------------------------------------------------------------------

    def apply(self, directory: Directory) -> None:
        """Take in a new directory: serve its models, reach its replicas, forget what is gone."""
        self._directory = directory
        wanted = {(m.name, m.version) for m in directory.models}
        for served in directory.models:
            if served.version not in self._models.get(served.name, ()):
                self._serve(served)
        for entry in self.entries():
            if (entry.name, entry.version) not in wanted:
                self._retire(entry)
        self._refused = {key: why for key, why in self._refused.items() if key in wanted}
        if self._channel:
            for member in directory.of_role("replica"):
                if member.version in self._models.get(member.model, ()):
                    specs = self._models[member.model][member.version].specs
                    self._pool.open(member.model, member.version, member.id, member.address, specs)
        self.publisher.on_directory(directory)
        self.explainers.on_directory(directory)

    def _serve(self, served: ServedModel) -> None:
        key = (served.name, served.version)
        if key in self._refused:
            return
        try:
            entry = ServedVersion(served, self.series, self.publisher)
        except Exception as error:  # noqa: BLE001 - the other models are served all the same
            _log.exception("model '%s' version %s cannot be served", *key)
            self._refused[key] = str(error)
            return
        self._models.setdefault(served.name, {})[served.version] = entry

    def _retire(self, entry: ServedVersion) -> None:
        """Answer nothing new; close the links once everything that was admitted is answered."""
        del self._models[entry.name][entry.version]
        if not self._models[entry.name]:
            del self._models[entry.name]
        links = self._pool.release(entry.name, entry.version)

        def close() -> None:
            for link in links:
                link.connection.close()

        entry.queue.retire(close)

    def add_link(self, name: str, version: str, link: ReplicaLink) -> None:
        """Prove a link by running the model's example over it, then give it traffic."""
        task = asyncio.get_running_loop().create_task(self._prove(name, version, link))
        self._proofs.add(task)
        task.add_done_callback(self._proofs.discard)

    async def _prove(self, name: str, version: str, link: ReplicaLink) -> None:
        entry = self._models.get(name, {}).get(version)
        proven = entry is not None and await entry.prove(link)
        # While it was proved the link may have been lost, or the model removed.
        current = self._models.get(name, {}).get(version) is entry
        if entry is not None and proven and current and link.open:
            if isinstance(link, ChannelLink):
                self._entry_of[link] = entry
            entry.queue.add_link(link)
            self.on_ready_change()
        elif isinstance(link, ChannelLink):
            link.connection.close()

    def _link_up(self, name: str, version: str, link: ChannelLink) -> None:
        self.add_link(name, version, link)

    def _link_down(self, name: str, version: str, link: ChannelLink) -> None:
        # Not looked up by name: its model may have been removed, and replaced, in the meantime.
        entry = self._entry_of.pop(link, None)
        if entry is not None:
            entry.queue.remove_link(link)
            self.on_ready_change()
        # The connection may have broken although the replica lives: look again, at once after
        # good work, with a pause when the replica has never got through its example.
        self._look_again_in(0.1 if entry is not None else RETRY_S)

    def _look_again_in(self, seconds: float) -> None:
        if not self.draining:
            asyncio.get_running_loop().call_later(seconds, self._look_again)

    def _look_again(self) -> None:
        if not self.draining:
            self.apply(self._directory)

    def drain(self) -> None:
        """Be not ready and let streams end; what is under way is finished."""
        self.stopping.set()
        self.on_ready_change()

    def close(self) -> None:
        """Close every connection."""
        self.draining = True
        self._pool.close()
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
        """
        versions = self._models.get(name)
        if versions is None:
            raise unknown_model(name[:200])
        if version:
            entry = versions.get(version)
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
    def refused(self) -> dict[tuple[str, str], str]:
        """Model versions that cannot be served here, and why."""
        return dict(self._refused)

    def ready(self) -> tuple[bool, list[str]]:
        """Whether an inference through every required model has worked; reasons when not."""
        if self.draining or self.stopping.is_set():
            return False, ["the gateway is draining"]
        if not self._models and not self._refused:
            return False, ["no model is loaded yet"]
        reasons = [
            f"model '{entry.name}': {entry.problem}"
            for entry in self.entries()
            if entry.config.required and not entry.ready
        ]
        reasons += [
            f"model '{name}': {why}"
            for (name, _), why in self._refused.items()
            if name not in self._models
        ]
        return not reasons, reasons

    # -- inference ----------------------------------------------------------------------

    async def infer(
        self,
        request: InferRequest,
        timeout_s: float | None = None,
        client: str = "",
        receive: Receive | None = None,
    ) -> InferResponse:
        """Answer one request.

        Args:
            request: decoded, not yet checked against the model.
            timeout_s: seconds until the transport's deadline; the request parameter `timeout`
                (microseconds) may shorten it.
            client: address of whoever asks, for taking turns.
            receive: tells whether the client has left, once its body has been read.

        Raises:
            VigilError: whatever went wrong, as the domain's exception.
        """
        started = time.monotonic()
        entry = self.resolve(request.model_name, request.model_version)
        series = entry.requests
        try:
            bound = entry.binder.bind(request)
            parameters = request.parameters
            if parameters and "timeout" in parameters:
                timeout_s = _shorter(timeout_s, parameters["timeout"])
            item = entry.admit(request, bound, started, timeout_s, client, receive)
            answer = await item.future
        except VigilError as error:
            series.failed(error, time.monotonic() - started)
            raise
        except asyncio.CancelledError:
            series.abandoned()
            raise
        series.succeeded(time.monotonic() - started)
        return _respond(request, entry, bound.outputs, answer)

    def snapshot(self) -> tuple[Series, ...]:
        """Return every series of this gateway, gauges brought up to date."""
        for entry in self.entries():
            base = {"model": entry.name, "version": entry.version}
            links = entry.queue.links
            self.series.gauge(names.QUEUE_ROWS, **base).set(entry.queue.waiting_rows)
            self.series.gauge(names.REPLICA_SLOTS_TOTAL, **base).set(
                sum(link.slots for link in links)
            )
            self.series.gauge(names.REPLICA_SLOTS_USED, **base).set(
                sum(link.busy for link in links)
            )
        return self.series.snapshot()


def _shorter(timeout_s: float | None, microseconds: object) -> float | None:
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
    outputs = tuple(
        [Tensor(name, types[name], given[name].shape, given[name]) for name in wanted or types]
    )
    if request.outputs:
        outputs = as_asked(request.outputs, outputs, entry.classes)
    parameters = None
    if answer.flags and entry.config.expose_flags:
        parameters = {"vigil_flags": ",".join(answer.flags)}
    return InferResponse(entry.name, entry.version, request.id, outputs, parameters)
