"""The control plane: roles register and report here; it pushes the directory and keeps the books.

One control plane per instance, in the supervisor (local engine) or in one deployment (ray engine).
Losing
it costs no request: roles keep their last directory, reconnect, and register again.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from serving.channel.connection import Connection
from serving.channel.endpoint import ChannelServer
from serving.channel.frame_parts import Message
from serving.channel.messages.control import (
    DEADLY,
    ENDED,
    FAILED,
    DeadlyMeta,
    EndedMeta,
    FailedMeta,
)
from serving.channel.messages.directory import (
    LEAVING,
    BrokenModel,
    Directory,
    Member,
    ModelKey,
    ServedModel,
)
from serving.channel.messages.findings import FINDINGS_CHANGED, FindingRecord, FindingsChanged
from serving.channel.messages.reports import REPORT, GatewayStatus
from serving.channel.messages.settings import Settings
from serving.control.directory_push import DirectoryPush
from serving.control.explainers import Explainers
from serving.control.failure_reasons import FailureReasons
from serving.control.latest_findings import LatestFindings
from serving.control.load_failures import LoadFailures
from serving.control.members import Members, MemberState
from serving.control.model_series import ModelSeries
from serving.control.news import News
from serving.control.readiness import unready_reasons
from serving.control.role_requests import RoleRequests
from serving.control.served_model import config_of
from serving.telemetry.counters import SeriesSet
from serving.telemetry.process import ProcessSeries
from serving.telemetry.series import Series

_decode_deadly = msgspec.msgpack.Decoder(DeadlyMeta).decode
_decode_failed = msgspec.msgpack.Decoder(FailedMeta).decode
_decode_findings = msgspec.msgpack.Decoder(FindingsChanged).decode
_decode_member = msgspec.msgpack.Decoder(Member).decode


class Registry:
    """State of one instance, fed by its roles. All methods belong to the loop's thread.

    Args:
        gateways: how many gateways there must be for the instance to be ready.
        monitors: how many monitors the models are divided among.
        secret: the cluster's secret; needed to listen on TCP.
        settle_s: seconds after the start in which members register but no directory is pushed.
            A control plane that replaces a dead one needs it: the first gateway that finds the new
                control plane
            must not be told that there are no replicas, only because they come a moment later.
        tells_ends: whether `tell_ended` is called for every replica that ends by itself.
        clock: monotonic seconds.

    Attributes:
        directory: what followers were told last, or will be told in a moment.
        members: who is there.
        failures: why versions could not be loaded.
        explainers: which explainers there are.
        requests: answers what roles ask.
        series: the control plane's own.
        processes: processes that are no members, whose series are the control plane's.
    """

    def __init__(
        self,
        *,
        gateways: int = 1,
        monitors: int = 1,
        secret: bytes | None = None,
        settle_s: float = 0.0,
        tells_ends: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gateways = gateways
        self._monitors = monitors
        self._settle_s = settle_s
        self._tells_ends = tells_ends
        self.secret = secret
        self._server = ChannelServer(self._on_message, secret=secret, on_closed=self._on_closed)
        self._models: tuple[ServedModel, ...] = ()
        self._candidates: tuple[ServedModel, ...] = ()
        self._broken: tuple[BrokenModel, ...] = ()
        self._settings = Settings()
        self._leaving = False
        self._news = News()
        self.on_joined: Callable[[Member], None] = lambda _member: None
        self.on_findings: Callable[[str, FindingsChanged], None] = lambda _id, _changed: None
        self.explainers: Final = Explainers(clock)
        self.requests: Final = RoleRequests(self.explainers)
        self.started_ns: Final = time.time_ns()
        # Counted from the wall clock, so that a control plane that replaces another continues
        # upwards.
        self._generations = itertools.count(self.started_ns // 1_000_000)
        self.series: Final = SeriesSet()
        self.members: Final = Members(self.series, clock, self.started_ns / 1e9)
        self.failures: Final = FailureReasons()
        self.load_failures: Final = LoadFailures(self.series)
        self._model_series = ModelSeries(self.series)
        self._findings = LatestFindings(clock)
        self.processes: Final[list[ProcessSeries]] = []
        self.directory = Directory(next(self._generations), monitors=monitors)
        # The others take no directory; a hundred replicas need not hear of each other.
        self._push = DirectoryPush(lambda: self.members.connections("gateway", "monitor"))

    # -- life ---------------------------------------------------------------------------

    async def start(self, address: str) -> str:
        """Listen; returns the address with the port that was chosen when it named port 0."""
        if self._settle_s > 0:
            self._push.settle(self._settle_s)
        return await self._server.start(address)

    def stop(self) -> None:
        """Stop listening and close every member's connection."""
        self._push.stop()
        self.requests.stop()
        self._server.close()

    # -- what it is told from here ------------------------------------------------------

    def set_models(
        self,
        models: Sequence[ServedModel],
        candidates: Sequence[ServedModel] = (),
        broken: Sequence[BrokenModel] = (),
    ) -> int:
        """Replace what should be served, what is tried and what cannot be; tell everybody.

        Returns:
            The generation of the directory that says so.
        """
        self._models = tuple(models)
        self._candidates = tuple(candidates)
        self._broken = tuple(broken)
        self.failures.keep({served.key for served in (*models, *candidates)})
        self.load_failures.follow((*models, *candidates), broken)
        self._changed()
        self.explainers.follow(self._models)
        generation = self.directory.generation
        self._model_series.follow(generation, self._models, self._candidates, self._broken)
        return generation

    def leave(self) -> None:
        """Be not ready from now on, as every gateway is; everything is answered until `drain`."""
        self._leaving = True
        self._changed()

    def drain(self) -> None:
        """Tell every gateway to end: its streams, and its connections once they are answered."""
        self._model_series.end()
        self._tell_gateways("drain", None)

    def tell_ended(self, ended: EndedMeta) -> None:
        """Tell every gateway how the process of a replica ended."""
        self._tell_gateways(ENDED, ended)

    def _tell_gateways(self, kind: str, meta: object, but: Connection | None = None) -> None:
        for connection in self.members.connections("gateway"):
            if connection is not but:
                connection.notify(kind, meta)

    def set_settings(self, settings: Settings) -> None:
        """Tell every gateway how to log and trace."""
        self._settings = settings
        self._changed()

    def note_failure(self, key: ModelKey, reason: str) -> None:
        """Keep why a replica could not be, unless it told that itself or another is there."""
        self.load_failures.ended(key)
        if not self.members.holds(key):
            self.failures.note(key, reason)
            self._news.tell()

    async def news(self, timeout_s: float) -> None:
        """Wait for the next report, member or failure; return also when none comes in time."""
        await self._news.within(timeout_s)

    # -- what it knows ------------------------------------------------------------------

    def aggregate(self) -> list[Series]:
        """Return every series of the instance, one per name and attributes."""
        fresh = self.members.gateway_statuses(fresh=True)
        self._model_series.update(fresh, self._gateways)
        for process in self.processes:
            process.update()
        return self.members.totals(self.series.snapshot())

    def inherited(self) -> list[Series]:
        """Return what of `aggregate` was counted before this control plane began."""
        return self.members.inherited()

    def states(self) -> list[MemberState]:
        """Return every member as it is now, sorted by role and id."""
        return self.members.states()

    @property
    def gateways_wanted(self) -> int:
        """How many gateways there must be."""
        return self._gateways

    def gateway_statuses(self) -> list[GatewayStatus]:
        """Return what each gateway that has reported said about itself last."""
        return self.members.gateway_statuses()

    def findings(self) -> list[FindingRecord]:
        """Return every finding as it counts now; see `LatestFindings`."""
        return self._findings.current({served.name for served in self._models})

    def ready(self) -> tuple[bool, list[str]]:
        """Whether every gateway is there and ready; else the reasons, one sentence each.

        A gateway reports ready once an inference through every required model has worked.
        """
        if self._leaving:
            return False, [LEAVING]
        states = self.members.states()
        reasons = unready_reasons(states, self._gateways, self._models, self.failures)
        return not reasons, reasons

    def explainer_state(self, served: ServedModel) -> str | None:
        """Say how the explainer of a served version fares; None if there is nothing to explain."""
        try:
            explained = config_of(served).explained
        except ValueError:  # no gateway serves it
            return None
        return self.explainers.state(served.key) if explained else None

    # -- what roles tell it -------------------------------------------------------------

    def _on_message(self, connection: Connection, message: Message) -> None:
        if message.kind == "register":
            self._register(connection, _decode_member(message.meta))
        elif message.kind == REPORT and connection in self.members:
            self._reported(connection, message)
        elif message.kind == FINDINGS_CHANGED and connection in self.members:
            self._found(connection, message)
        elif message.kind == DEADLY:
            self._tell_gateways(DEADLY, _decode_deadly(message.meta), but=connection)
        elif message.kind == FAILED:
            self._failed(_decode_failed(message.meta))
        elif message.id:
            self.requests.take(connection, message)

    def _failed(self, failed: FailedMeta) -> None:
        key = (failed.model, failed.version, failed.revision)
        if failed.role == "explainer":
            self.explainers.failed(key, failed.reason)
            return
        self.failures.told(key, failed.reason)
        self.load_failures.told(failed)
        self._news.tell()

    def _register(self, connection: Connection, member: Member) -> None:
        for gone in self.members.register(member, connection):
            self._left(gone)
        if member.role == "replica":
            self.failures.forget(member.key)
            self.load_failures.loaded(member.key)
        elif member.role == "explainer":
            self.explainers.joined(member.key)
        self.on_joined(member)
        self._changed()

    def _on_closed(self, connection: Connection) -> None:
        gone = self.members.vacate(connection)
        if gone is not None:
            self._left(gone)
            self._changed()

    def _left(self, gone: Member) -> None:
        if gone.role == "explainer":
            self.explainers.left(gone.key)
        elif gone.role == "monitor":
            self._findings.left(gone.id)

    def _reported(self, connection: Connection, message: Message) -> None:
        member = self.members.reported(connection, message.meta)
        if member is None:
            return
        if member.role == "monitor":
            self._findings.heard(member.id)
        elif member.role == "gateway":
            self.load_failures.gateways_say(self.gateway_statuses())
            self._news.tell()

    def _found(self, connection: Connection, message: Message) -> None:
        try:
            changed = _decode_findings(message.meta)
        except msgspec.DecodeError as error:
            self.members.unreadable(connection, "message of findings", error)
        else:
            monitor = self.members.member(connection).id
            self._findings.told(monitor, changed)
            self.on_findings(monitor, changed)

    # -- the directory ------------------------------------------------------------------

    def _changed(self) -> None:
        self.directory = Directory(
            next(self._generations),
            self._models,
            tuple(self.members),
            self._candidates,
            self._settings,
            self._broken,
            self._leaving,
            self._tells_ends,
            self._monitors,
        )
        self._news.tell()
        self._push.offer(self.directory)
