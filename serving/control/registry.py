"""The hub: roles register and report here; it pushes the directory and keeps the books.

One hub per instance, in the supervisor (local engine) or in one deployment (ray engine). Losing
it costs no request: roles keep their last directory, reconnect, and register again.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from serving.channel.connection import Connection
from serving.channel.endpoint import ChannelServer
from serving.channel.frame_parts import Message
from serving.channel.messages.control import (
    CONTROL,
    DEADLY,
    ENDED,
    EXPLAINER,
    FAILED,
    DeadlyMeta,
    EndedMeta,
    ExplainerMeta,
    FailedMeta,
)
from serving.channel.messages.directory import (
    LEAVING,
    BrokenModel,
    Directory,
    Member,
    ModelKey,
    Report,
    ServedModel,
)
from serving.channel.messages.settings import Settings
from serving.control.explainers import Explainers
from serving.control.fleet_totals import FleetTotals
from serving.control.load_failures import LoadFailures
from serving.control.model_series import ModelSeries
from serving.control.served_model import config_of
from serving.errors import ModelFailed, Unsupported, VigilError
from serving.protocol.repository import ControlMeta
from serving.telemetry import names
from serving.telemetry.counters import SeriesSet, SumSeries
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report
from serving.telemetry.process import ProcessSeries
from serving.telemetry.series import Series

STALE_S: Final = 10.0
"""Seconds without a report after which a member counts as not ready."""

PUSH_S: Final = 0.02
"""Changes within so many seconds of a push travel together: a hundred replicas that register one
after the other would else send a hundred directories to everybody."""

_decode_deadly = msgspec.msgpack.Decoder(DeadlyMeta).decode
_decode_control = msgspec.msgpack.Decoder(ControlMeta).decode
_decode_explainer = msgspec.msgpack.Decoder(ExplainerMeta).decode
_decode_failed = msgspec.msgpack.Decoder(FailedMeta).decode
_decode_member = msgspec.msgpack.Decoder(Member).decode
_decode_report = msgspec.msgpack.Decoder(Report).decode


class MemberState(msgspec.Struct, frozen=True):
    """A member as the hub sees it now.

    Attributes:
        member: what it registered as.
        ready: its own verdict; false while it has not reported, or not lately.
        age_s: seconds since its last report; None before the first.
        restarts: how many times its id came back as a new process.
        status: what its last report said about itself.
    """

    member: Member
    ready: bool
    age_s: float | None
    restarts: int
    status: dict[str, Any]


class _Seat:
    """One registered member and the connection that is its lease."""

    def __init__(self, member: Member, connection: Connection) -> None:
        self.member = member
        self.connection = connection
        self.report: Report | None = None
        self.reported_at = 0.0


class Hub:
    """State of one instance, fed by its roles. All methods belong to the loop's thread.

    Args:
        gateways: how many gateways there must be for the instance to be ready.
        secret: the cluster's secret; needed to listen on TCP.
        settle_s: seconds after the start in which members register but no directory is pushed.
            A hub that replaces a dead one needs it: the first gateway that finds the new hub
            must not be told that there are no replicas, only because they come a moment later.
        tells_ends: whether `tell_ended` is called for every replica that ends by itself.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        *,
        gateways: int = 1,
        secret: bytes | None = None,
        settle_s: float = 0.0,
        tells_ends: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gateways = gateways
        self._settle_s = settle_s
        self._tells_ends = tells_ends
        self._clock = clock
        self.secret = secret
        self._server = ChannelServer(self._on_message, secret=secret, on_closed=self._on_closed)
        self._seats: dict[str, _Seat] = {}
        self._ids: dict[Connection, str] = {}
        self._ledger = FleetTotals()
        self._restarts: dict[str, int] = {}
        self._models: tuple[ServedModel, ...] = ()
        self._candidates: tuple[ServedModel, ...] = ()
        self._broken: tuple[BrokenModel, ...] = ()
        self._settings = Settings()
        self._leaving = False
        self._failures: dict[ModelKey, str] = {}
        self._noted: dict[ModelKey, str] = {}
        """Those of `_failures` that no replica has told."""
        self._news = asyncio.Event()
        self._answers: set[asyncio.Task[None]] = set()
        self.on_control: Callable[[ControlMeta], Awaitable[object]] | None = None
        self.on_joined: Callable[[Member], None] = lambda _member: None
        self.explainers: Final = Explainers(clock)
        self.started_ns: Final = time.time_ns()
        # Counted from the wall clock, so that a hub that replaces another continues upwards.
        self._generations = itertools.count(self.started_ns // 1_000_000)
        self.series: Final = SeriesSet()
        self.load_failures: Final = LoadFailures(self.series)
        self._model_series = ModelSeries(self.series)
        self.processes: Final[list[ProcessSeries]] = []
        """Processes that are no members."""
        self.directory = Directory(next(self._generations))
        self._settling: asyncio.TimerHandle | None = None
        self._pushing: asyncio.TimerHandle | None = None
        self._stale = False

    # -- life ---------------------------------------------------------------------------

    async def start(self, address: str) -> str:
        """Listen; returns the address with the port that was chosen when it named port 0."""
        if self._settle_s > 0:
            loop = asyncio.get_running_loop()
            self._settling = loop.call_later(self._settle_s, self._settled)
        return await self._server.start(address)

    def stop(self) -> None:
        """Stop listening and close every member's connection."""
        for timer in (self._settling, self._pushing):
            if timer:
                timer.cancel()
        for task in self._answers:
            task.cancel()
        self._server.close()

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
        known = {served.key for served in (*models, *candidates)}
        self._failures = {key: why for key, why in self._failures.items() if key in known}
        self._noted = {key: why for key, why in self._noted.items() if key in known}
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
        for seat in self._seats.values():
            if seat.member.role == "gateway" and seat.connection is not but:
                seat.connection.notify(kind, meta)

    def set_settings(self, settings: Settings) -> None:
        """Tell every gateway how to log and trace."""
        self._settings = settings
        self._changed()

    def note_failure(self, key: ModelKey, reason: str) -> None:
        """Keep why a replica could not be, unless it told that itself or another is there."""
        self.load_failures.ended(key)
        if not any(seat.member.key == key for seat in self._seats.values()):
            if self._failures.setdefault(key, reason) == reason:
                self._noted[key] = reason
            self._tell_news()

    def forget_failure(self, key: ModelKey) -> None:
        """Let a revision be tried once more."""
        self._failures.pop(key, None)
        self._noted.pop(key, None)

    async def news(self, timeout_s: float) -> None:
        """Wait for the next report, member or failure; return also when none comes in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        except TimeoutError:
            return

    # -- what it knows ------------------------------------------------------------------

    def aggregate(self) -> list[Series]:
        """Return every series of the instance, one per name and attributes."""
        fresh = [state.status for state in self.states() if _reports(state)]
        self._model_series.update(fresh, self._gateways)
        for process in self.processes:
            process.update()
        return self._ledger.aggregate(self.series.snapshot())

    def states(self) -> list[MemberState]:
        """Return every member as it is now, sorted by role and id."""
        seats = sorted(self._seats.values(), key=lambda seat: (seat.member.role, seat.member.id))
        return [self._state(seat) for seat in seats]

    @property
    def gateways_wanted(self) -> int:
        """How many gateways there must be."""
        return self._gateways

    def failure(self, key: ModelKey) -> str | None:
        """Return why the last replica of a revision could not be; None when one is there."""
        return self._failures.get(key)

    def noted_failure(self, key: ModelKey) -> str | None:
        """Return why the process of a revision's replica ended, if that is known only from here.

        What a replica says of itself may quote its model; this does not.
        """
        return self._noted.get(key)

    def gateway_statuses(self) -> list[dict[str, Any]]:
        """Return what each gateway that has reported said about itself last."""
        return [
            seat.report.status
            for seat in self._seats.values()
            if seat.member.role == "gateway" and seat.report is not None
        ]

    def ready(self) -> tuple[bool, list[str]]:
        """Whether every gateway is there and ready; else the reasons, one sentence each.

        A gateway reports ready once an inference through every required model has worked.
        """
        if self._leaving:
            return False, [LEAVING]
        gateways = [state for state in self.states() if state.member.role == "gateway"]
        reasons = []
        if len(gateways) < self._gateways:
            reasons.append(f"{len(gateways)} of {self._gateways} gateways are there")
        reasons += _unready_reasons(state for state in gateways if not state.ready)
        if reasons:
            reasons += self._why_failed(reasons)
        return not reasons, reasons

    def _why_failed(self, told: Sequence[str]) -> list[str]:
        """Say why required models cannot be loaded, where gateways have not told it."""
        failed = [
            (f"model '{served.name}' version {served.version}: ", self._failures[served.key])
            for served in self._models
            if served.key in self._failures and _is_required(served)
        ]
        return [model + why for model, why in failed if not any(why in each for each in told)]

    def status(self) -> dict[str, Any]:
        """Return models, members and readiness as plain JSON values."""
        ready, reasons = self.ready()
        return {
            "ready": ready,
            "reasons": reasons,
            "generation": self.directory.generation,
            "models": [
                {
                    "name": model.name,
                    "version": model.version,
                    "explainer": self.explainer_state(model),
                }
                for model in self._models
            ],
            "members": [msgspec.to_builtins(state) for state in self.states()],
            "restarts": dict(self._restarts),
        }

    def explainer_state(self, served: ServedModel) -> str | None:
        """Say how the explainer of a served version fares; None if there is nothing to explain."""
        try:
            explained = config_of(served).explained
        except ValueError:  # no gateway serves it
            return None
        return self.explainers.state(served.key) if explained else None

    # -- messages -----------------------------------------------------------------------

    def _on_message(self, connection: Connection, message: Message) -> None:
        if message.kind == "register":
            self._register(connection, _decode_member(message.meta))
        elif message.kind == "report" and connection in self._ids:
            self._reported(self._ids[connection], _decode_report(message.meta))
        elif message.kind == DEADLY:
            self._tell_gateways(DEADLY, _decode_deadly(message.meta), but=connection)
        elif message.kind == FAILED:
            self._failed(_decode_failed(message.meta))
        elif message.id:
            task = asyncio.get_running_loop().create_task(self._answer(connection, message))
            self._answers.add(task)
            task.add_done_callback(self._answers.discard)

    def _failed(self, failed: FailedMeta) -> None:
        key = (failed.model, failed.version, failed.revision)
        if failed.role == "explainer":
            self.explainers.failed(key, failed.reason)
            return
        self._failures[key] = failed.reason
        self.load_failures.told(failed)
        self._tell_news()

    async def _answer(self, connection: Connection, message: Message) -> None:
        try:
            if message.kind == EXPLAINER:
                await self.explainers.wanted(_decode_explainer(message.meta))
                connection.reply(message.id, None)
                return
            if message.kind != CONTROL or self.on_control is None:
                raise Unsupported(f"this hub does not answer '{message.kind[:40]}'")
            connection.reply(message.id, await self.on_control(_decode_control(message.meta)))
        except VigilError as error:
            connection.fail(message.id, error)
        except Exception as error:  # noqa: BLE001 - the peer must get an answer whatever it was
            said = f"the hub failed to answer '{message.kind[:40]}'"
            report(Event.INTERNAL_ERROR, said, error=error)
            connection.fail(message.id, ModelFailed("internal error; see the server's log"))

    def _on_closed(self, connection: Connection) -> None:
        if self._vacate(connection):
            self._changed()

    def _register(self, connection: Connection, member: Member) -> None:
        self._vacate(connection)
        before = self._seats.get(member.id)
        if before is not None:
            # The newest connection is right; the old one may be half-open and never close.
            self._vacate(before.connection)
            before.connection.abort()
        self._seats[member.id] = _Seat(member, connection)
        self._ids[connection] = member.id
        if member.role == "replica":
            # From zero on, so that the first restart is an increase that an alert can see.
            self._restart_series(member).add(0)
            self._failures.pop(member.key, None)
            self.load_failures.loaded(member.key)
        elif member.role == "explainer":
            self.explainers.joined(member.key)
        if self._ledger.join(member.id, member.pid):
            self._count_restart(member)
        self.on_joined(member)
        self._changed()

    def _vacate(self, connection: Connection) -> bool:
        ident = self._ids.pop(connection, None)
        if ident is None:
            return False
        seat = self._seats.pop(ident)
        if seat.member.role == "explainer":
            self.explainers.left(seat.member.key)
        self._ledger.leave(ident, seat.member.pid)
        return True

    def _reported(self, ident: str, report: Report) -> None:
        seat = self._seats[ident]
        seat.report = report
        seat.reported_at = self._clock()
        if self._ledger.report(ident, report.series):
            self._count_restart(seat.member)
        if seat.member.role == "gateway":
            self.load_failures.gateways_say(self.gateway_statuses())
            self._tell_news()

    def _count_restart(self, member: Member) -> None:
        self._restarts[member.id] = self._restarts.get(member.id, 0) + 1
        report(
            Event.PROCESS_REPLACED,
            f"{member.id} is a new process: the one before it ended",
            model=member.model,
            version=member.version,
            process=member.id,
            process_pid=member.pid,
            restarts=self._restarts[member.id],
        )
        if member.role == "replica":
            self._restart_series(member).add(1)

    def _restart_series(self, member: Member) -> SumSeries:
        return self.series.sum(names.REPLICA_RESTARTS, model=member.model, version=member.version)

    def _state(self, seat: _Seat) -> MemberState:
        report = seat.report
        age = self._clock() - seat.reported_at if report else None
        fresh = age is not None and age < STALE_S
        restarts = self._restarts.get(seat.member.id, 0)
        status = report.status if report else {}
        ready = bool(report and report.ready and fresh)
        return MemberState(seat.member, ready, age, restarts, status)

    # -- the directory ------------------------------------------------------------------

    def _settled(self) -> None:
        self._settling = None
        self._changed()

    def _changed(self) -> None:
        members = tuple(seat.member for seat in self._seats.values())
        self.directory = Directory(
            next(self._generations),
            self._models,
            members,
            self._candidates,
            self._settings,
            self._broken,
            self._leaving,
            self._tells_ends,
        )
        self._tell_news()
        if self._settling is None and self._pushing is None:
            self._push()
        else:
            self._stale = True

    def _push(self) -> None:
        self._stale = False
        for seat in self._seats.values():
            # The others take no directory; a hundred replicas need not hear of each other.
            if seat.member.role in ("gateway", "monitor"):
                seat.connection.notify("directory", self.directory)
        self._pushing = asyncio.get_running_loop().call_later(PUSH_S, self._pushed)

    def _pushed(self) -> None:
        self._pushing = None
        if self._stale:
            self._push()

    def _tell_news(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


def _reports(state: MemberState) -> bool:
    """Whether it is a gateway, and what it said last can be relied on."""
    is_fresh = state.age_s is not None and state.age_s < STALE_S
    return is_fresh and state.member.role == "gateway"


def _is_required(served: ServedModel) -> bool:
    try:
        return config_of(served).required
    except ValueError:  # it may have failed for just that
        return True


def _unready_reasons(gateways: Iterable[MemberState]) -> list[str]:
    """Say why gateways are not ready, in their own words where they gave any; each reason once."""
    told = []
    said: dict[str, list[str]] = {}
    for state in gateways:
        ident, given = state.member.id, state.status.get("reasons")
        if state.age_s is None:
            told.append(f"gateway {ident} has not reported yet")
        elif state.age_s >= STALE_S:
            told.append(f"gateway {ident} has not reported for {state.age_s:.0f} s")
        elif isinstance(given, list) and given:
            for reason in dict.fromkeys(map(str, given)):
                said.setdefault(reason, []).append(ident)
        else:
            told.append(f"gateway {ident} is not ready")
    return told + [f"gateway {', '.join(idents)}: {reason}" for reason, idents in said.items()]
