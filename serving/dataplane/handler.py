"""The one transport-free handler: every ingress converts, calls it, and converts back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from serving.channel.messages.directory import Directory
from serving.channel.messages.incidents import IncidentOrder, IncidentQuery
from serving.channel.messages.reports import GatewayStatus
from serving.dataplane.context import NO_CONTEXT, RequestContext
from serving.dataplane.endpoint import Endpoint, Ticket
from serving.dataplane.explainers import ExplainerPool
from serving.dataplane.hooks.publisher import EventPublisher
from serving.dataplane.hooks.queue_gauges import QueueGauges, QueueLoad
from serving.dataplane.hooks.server_durations import ServerDurations
from serving.dataplane.hooks.tracing import Tracing
from serving.dataplane.links.link import ReplicaLink
from serving.dataplane.mirroring import mirror
from serving.dataplane.observing.intake import PairIntake
from serving.dataplane.reconciler import Reconciler
from serving.dataplane.routing import Router
from serving.dataplane.served import ServedVersion
from serving.errors import ModelNotReady, QueueFull, Unsupported, VigilError
from serving.protocol.messages import InferRequest, InferResponse
from serving.protocol.repository import ControlMeta
from serving.telemetry.counters import SeriesSet
from serving.telemetry.series import Series

AskIncidents = Callable[[str, IncidentQuery | IncidentOrder], Awaitable[bytes]]


class DataPlane:
    """Everything a gateway answers with. Belongs to one event loop.

    Args:
        gateway_id: name of this gateway in events and metrics.
        secret: the cluster's secret for TCP channels; None on one host.
        channel: whether replicas are reached over channels; False when links are added by
            whoever composed this data plane (`add_link`).

    Attributes:
        durations: of requests, as the transports that carry them see them.
        router: chooses who answers a request.
        reconciler: keeps what is served in line with the directory.
        readiness: whether all of it can answer.
        crowded: queues that have refused somebody lately.
        pairs: takes in what somebody else answered.
        control: passes a question or an order on to the control plane.
        incidents: passes on what clients ask and order about incidents, by its kind.
    """

    def __init__(
        self, gateway_id: str, secret: bytes | None = None, *, channel: bool = True
    ) -> None:
        self.gateway_id = gateway_id
        self.server_name = "vigil"
        self.series = SeriesSet()
        self.durations = ServerDurations(self.series)
        self._gauges = QueueGauges(self.series)
        self.publisher = EventPublisher(gateway_id, self.series, secret)
        self.explainers = ExplainerPool(secret)
        self._tracing = Tracing(gateway_id)
        self.router = Router()
        self.reconciler = Reconciler(
            self.router, self.series, self.publisher, self._tracing, secret, channel=channel
        )
        self.pairs = PairIntake(self.series, self.publisher)
        self.reconciler.followers = (
            self.publisher.on_directory,
            self.explainers.on_directory,
            self.pairs.on_directory,
        )
        self.readiness = self.reconciler.readiness
        self.ends = self.reconciler.ends
        self.crowded = self.reconciler.crowded
        self.stopping = self.readiness.stopping
        self.control: Callable[[ControlMeta], Awaitable[Any]] = _no_registry
        self.incidents: AskIncidents = _no_incidents

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
            pass  # `finish` counts and raises it
        except asyncio.CancelledError:
            ticket.endpoint.abandon(ticket)
            raise
        return ticket.endpoint.finish(ticket)

    def begin(self, request: InferRequest, context: RequestContext = NO_CONTEXT) -> Ticket:
        """Admit one request; its endpoint's `finish` takes the ticket once it is answered.

        The arguments are those of `infer`.

        Raises:
            VigilError: it is refused.
        """
        route = self.router.choose(request, context)
        ticket = route.endpoint.begin(request, context, route.arm)
        if route.mirrors:
            mirror(route.mirrors, request, context)
        return ticket

    def refuse_unread(self, entry: ServedVersion, waited_s: float) -> QueueFull:
        """Count and log a request that waited in vain for room in a queue; return its error."""
        return entry.refuse_unread(waited_s)

    # -- models -------------------------------------------------------------------------

    def resolve(self, name: str, version: str = "") -> Endpoint:
        """Return what answers for a model; an empty version is the newest that is ready.

        Raises:
            ModelNotFound, VersionNotFound: nothing of that name is served.
            ModelNotReady: nobody has said yet what is.
        """
        return self.router.endpoint(name, version)

    def served_version(self, name: str, version: str = "") -> ServedVersion:
        """Return the served version that answers for a model, whatever stands in front of it.

        Raises:
            VigilError: as for `resolve`.
            Unsupported: no replica of ours answers for it.
        """
        found = self.router.endpoint(name, version)
        entry = self.reconciler.active(found.name, found.version)
        if entry is None:
            raise Unsupported(
                f"model '{found.name}' has no replicas here that could be asked for this; "
                "name a model that is served from the repository"
            )
        return entry

    def versions(self, name: str) -> list[str]:
        """Return the served versions of a model, oldest first."""
        return self.router.versions(name)

    def entries(self) -> list[ServedVersion]:
        """Return every served version."""
        return self.reconciler.entries()

    @property
    def served_keys(self) -> set[tuple[str, str]]:
        """Name and version of everything that is served."""
        return {(entry.name, entry.version) for entry in self.entries()}

    @property
    def refused(self) -> dict[tuple[str, str], str]:
        """Model versions that should be served and cannot be here, and why."""
        return self.reconciler.refused

    # -- composition --------------------------------------------------------------------

    def apply(self, directory: Directory) -> None:
        """Take in a new directory: serve its models, reach its replicas, forget what is gone."""
        self.reconciler.apply(directory)

    def add_link(self, name: str, version: str, link: ReplicaLink, revision: str = "") -> None:
        """Prove a link by running the model's example over it, then give it traffic."""
        self.reconciler.links.add((name, version, revision), link)

    def status(self) -> GatewayStatus:
        """Return what the control plane must know of the models here; see `Reconciler.status`."""
        return self.reconciler.status()

    def snapshot(self) -> tuple[Series, ...]:
        """Return every series of this gateway, gauges brought up to date."""
        self._gauges.update(
            QueueLoad(entry.name, entry.version, entry.queue.waiting_rows, entry.batcher.links)
            for entry in (*self.reconciler.entries(), *self.reconciler.retiring)
        )
        return self.series.snapshot()

    def ready(self) -> tuple[bool, list[str]]:
        """Whether an inference through every required model has worked; reasons when not."""
        return self.readiness.ready()

    @property
    def changed(self) -> asyncio.Future[None]:
        """Done as soon as what is ready may have changed; ask again to wait for the next time."""
        return self.readiness.changed

    @property
    def leaving(self) -> bool:
        """Whether a drain follows soon; until then everything is answered."""
        return self.reconciler.leaving

    def drain(self) -> None:
        """Be not ready and let streams end; what is under way is finished."""
        self.readiness.drain()

    def close(self) -> None:
        """Close every connection."""
        self.reconciler.close()
        self._tracing.close()
        self.pairs.close()
        self.publisher.close()
        self.explainers.close()


async def _no_registry(_asked: ControlMeta) -> Any:
    raise ModelNotReady("this gateway has no control plane that could do it")


async def _no_incidents(_kind: str, _asked: object) -> bytes:
    raise ModelNotReady("this gateway has no control plane that knows of incidents")
