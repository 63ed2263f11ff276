"""What a gateway serves, brought in line with each directory that the control plane sends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from serving.channel.messages.control import DeadlyMeta
from serving.channel.messages.directory import Directory, ModelKey, ServedModel
from serving.channel.messages.reports import (
    CandidateStanding,
    GatewayStatus,
    Standing,
    UnreadyVersion,
)
from serving.config.encoded import decode_config
from serving.dataplane.batching.deadly_requests import Deadly
from serving.dataplane.hooks.objectives import show_objective
from serving.dataplane.hooks.publisher import EventPublisher
from serving.dataplane.hooks.request_spans import RequestTraces
from serving.dataplane.hooks.statistics import BatchStatistics
from serving.dataplane.hooks.tracing import Tracing
from serving.dataplane.link_proving import LinkProving
from serving.dataplane.links.replica_ends import ReplicaEnds
from serving.dataplane.mirrored import MirroredVersion
from serving.dataplane.queue.request_queue import RequestQueue
from serving.dataplane.readiness import Readiness, missing
from serving.dataplane.routing import Route, Router
from serving.dataplane.served import ServedVersion
from serving.telemetry.counters import SeriesSet
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report


class Reconciler:
    """Makes what the directory names: entries that answer, candidates that are proven first.

    Args:
        router: told who answers for what.
        series: where metrics of served versions are kept.
        publisher: takes their prediction events.
        tracing: gives them their tracers.
        secret: the cluster's secret for TCP channels; None on one host.
        channel: whether replicas are reached over channels; False when links are added by
            whoever composed this (`add_link`).

    Attributes:
        readiness: of this gateway.
        links: proves links, and loses them.
        ends: how replicas ended.
        crowded: queues that have refused somebody lately.
        retiring: entries that answer only what they had admitted.
        followers: called with every directory once its models are served.
        on_follow: called when what the control plane waits for may have happened.
        on_directory: called last with every directory that was taken in; may add and remove links.
        on_deadly: called with a request by which a replica was lost.
        traces: of requests, given to versions that are served from then on; None: none.
    """

    def __init__(
        self,
        router: Router,
        series: SeriesSet,
        publisher: EventPublisher,
        tracing: Tracing,
        secret: bytes | None = None,
        *,
        channel: bool = True,
    ) -> None:
        self._router = router
        self._series = series
        self._publisher = publisher
        self._tracing = tracing
        self._channel = channel
        # Of versions that are gone as well: one that comes back goes on counting, as its series do.
        self._statistics: dict[tuple[str, str], BatchStatistics] = {}
        self._directory = Directory()
        self._active: dict[tuple[str, str], ServedVersion] = {}
        self._candidates: dict[ModelKey, ServedVersion] = {}
        self._refused: dict[ModelKey, str] = {}
        self.retiring: list[ServedVersion] = []
        self.crowded: set[RequestQueue] = set()
        self.ends = ReplicaEnds()
        self.readiness = Readiness(
            lambda: missing(self._directory, self.entries(), self.refused),
        )
        self.links = LinkProving(self, self.ends, secret)
        self.followers: tuple[Callable[[Directory], None], ...] = ()
        self.on_follow: Callable[[], None] = lambda: None
        self.on_directory: Callable[[Directory], None] = lambda _directory: None
        self.on_deadly: Callable[[DeadlyMeta], None] = lambda _deadly: None
        self.traces: RequestTraces | None = None

    def apply(self, directory: Directory) -> None:
        """Take in a new directory: serve its models, reach its replicas, forget what is gone."""
        before = self._directory
        self._directory = directory
        self._router.told = bool(directory.generation)
        self.ends.told = directory.tells_ends
        self._reconcile(directory)
        if self._channel:
            self.links.reach(directory)
        self._tracing.follow(directory.settings)
        for entry in (*self._active.values(), *self._candidates.values()):
            tracer = self._tracing.tracer(entry.name, entry.version, entry.config)
            entry.traced_by(tracer)
        for follow in self.followers:
            follow(directory)
        if before.leaving == directory.leaving:
            self.readiness.wake()
        else:
            self.readiness.may_have_changed()
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

    def _reconcile(self, directory: Directory) -> None:
        tried = {served.key for served in directory.candidates}
        wanted = {served.key for served in directory.models}
        self._refused = {k: why for k, why in self._refused.items() if k in wanted or k in tried}
        for served in directory.models:
            self._serve(served)
        for served in directory.candidates:
            self._try(served)
        named = {key[:2] for key in wanted}
        for gone in [name for name in self._active if name not in named]:
            self._router.remove(*gone)
            self._retire(self._active.pop(gone))
        for key in [key for key in self._candidates if key not in tried and key not in wanted]:
            self._retire(self._candidates.pop(key))

    def _serve(self, served: ServedModel) -> None:
        active = self._active.get(served.key[:2])
        if active is not None and active.key == served.key:
            return
        self._try(served)
        entry = self._candidates.get(served.key)
        # A revision takes the place of another only when it can answer, or the other cannot.
        if entry is None or (active is not None and active.ready and not entry.ready):
            return
        del self._candidates[served.key]
        self._active[served.key[:2]] = entry
        self._router.put(Route(entry))
        show_objective(self._series, entry.name, entry.version, entry.config.slo)
        if active is not None:
            self._retire(active)

    def _try(self, served: ServedModel) -> None:
        """Make an entry that answers nobody yet, so that its replicas can be proven."""
        if served.key in self._refused or self.find(served.key) is not None:
            return
        try:
            statistics = self._statistics.setdefault(served.key[:2], BatchStatistics())
            remote = decode_config(served.config).remote
            mirrors = remote is not None and remote.mirror is not None
            make = MirroredVersion if mirrors else ServedVersion
            entry = make(served, self._series, self._publisher, statistics, self.ends, self.traces)
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
        entry.batcher.lost.on_deadly = lambda deadly: self.on_deadly(
            DeadlyMeta(*served.key, deadly.digest, deadly.sample, deadly.how)
        )
        self._candidates[served.key] = entry

    def _retire(self, entry: ServedVersion) -> None:
        """Close an entry's links once everything that was admitted is answered."""
        links = self.links.release(entry.key)
        self.retiring.append(entry)

        def close() -> None:
            for link in links:
                link.connection.close()
            self.retiring.remove(entry)
            self.crowded.discard(entry.queue)
            self.on_follow()

        entry.batcher.retire(close)

    def close(self) -> None:
        """Close every link; what waits for a replica is answered."""
        self.readiness.draining = True
        for entry in (*self._active.values(), *self._candidates.values(), *self.retiring):
            entry.batcher.close()
        self.links.close()

    def note_deadly(self, told: DeadlyMeta) -> None:
        """Refuse a request from now on by which another gateway has lost a replica."""
        entry = self.find((told.model, told.version, told.revision))
        if entry is not None:
            entry.batcher.lost.refuse(Deadly(told.digest, told.sample, told.how))

    # -- what `LinkProving` needs and tells ---------------------------------------------

    def find(self, key: ModelKey) -> ServedVersion | None:
        """Return the entry of a revision, whether it answers already or is a candidate."""
        active = self._active.get(key[:2])
        if active is not None and active.key == key:
            return active
        return self._candidates.get(key)

    def proven(self, key: ModelKey) -> None:
        """A link of a revision has got traffic."""
        if key in self._candidates:  # it may be what its predecessor waits for
            self._look_again()
        self.readiness.may_have_changed()

    def disproved(self, key: ModelKey) -> None:
        """A link of a revision has failed its example."""
        if key in self._candidates:
            self.on_follow()

    def lost(self) -> None:
        """A link that had traffic is gone."""
        self.readiness.may_have_changed()

    def look_again_in(self, seconds: float) -> None:
        """Take in the same directory again after a while, to reach replicas that had no link."""
        if not self.readiness.draining:
            asyncio.get_running_loop().call_later(seconds, self._look_again)

    def _look_again(self) -> None:
        if not self.readiness.draining:
            self.apply(self._directory)

    # -- what is served -----------------------------------------------------------------

    @property
    def leaving(self) -> bool:
        """Whether a drain follows soon; until then everything is answered."""
        return self._directory.leaving

    def entries(self) -> list[ServedVersion]:
        """Return everything that is served."""
        return list(self._active.values())

    def active(self, name: str, version: str) -> ServedVersion | None:
        """Return what is served under a name and version."""
        return self._active.get((name, version))

    @property
    def refused(self) -> dict[tuple[str, str], str]:
        """Model versions that should be served and cannot be here, and why."""
        wanted = {served.key for served in self._directory.models}
        return {key[:2]: why for key, why in self._refused.items() if key in wanted}

    def status(self) -> GatewayStatus:
        """Return what the control plane must know of the models here."""
        tried = [served.key for served in self._directory.candidates]
        unready = {(e.name, e.version): e.problem for e in self.entries() if not e.ready}
        disproved = [e.key for e in self.entries() if e.disproved and not e.ready]
        wanted = {served.key for served in self._directory.models}
        return GatewayStatus(
            self._directory.generation,
            tuple(CandidateStanding(*key, *self._standing(key)) for key in tried),
            tuple(entry.key for entry in self.retiring),
            tuple(UnreadyVersion(*key, why) for key, why in (unready | self.refused).items()),
            (*disproved, *(key for key in self._refused if key in wanted)),
        )

    def _standing(self, key: ModelKey) -> tuple[Standing, str]:
        entry = self.find(key)
        if entry is None:
            return "UNAVAILABLE", self._refused.get(key, "")
        if entry.ready:
            return "READY", ""
        return ("UNAVAILABLE" if entry.disproved else "LOADING"), entry.problem
