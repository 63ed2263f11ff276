"""Changes what a running instance serves: new versions in, old ones out, nothing lost between.

Replicas of what is new are started first and proven by every gateway; only then does it answer
clients, and only after that are the replicas of what it replaces ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final
from weakref import WeakValueDictionary

from serving.channel.messages.directory import BrokenModel, Inventory, ModelKey, ServedModel
from serving.config import ConfigError, signature_difference
from serving.control.registry import Hub
from serving.control.served_model import config_of, served_model
from serving.errors import LoadFailed, ModelNotFound, unknown_model
from serving.models.repository.folder import ModelRepository, readable
from serving.protocol.repository import ALLOW_SIGNATURE_CHANGE, IndexEntry
from serving.telemetry import names
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report

LOOK_S: Final = 0.5
"""How long to wait for news before looking at the clock again."""
FOLLOW_S: Final = 10.0
"""What gateways may take to follow a directory before a call no longer waits for them."""
UNLOADED: Final = "unloaded"


Engine = Callable[[Sequence[ServedModel], Sequence[ServedModel]], None]


class ModelControl:
    """Loads and unloads models. Belongs to the hub's loop.

    Args:
        hub: tells gateways what to serve, and hears how they fare.
        repository: where models lie.
        engine: told which models must have replicas: those that serve, and candidates.
        load_timeout_s: what loading may take.
        drain_timeout_s: what answering the rest of the old ones' requests may take.
    """

    def __init__(
        self,
        hub: Hub,
        repository: ModelRepository,
        engine: Engine,
        *,
        load_timeout_s: float,
        drain_timeout_s: float,
    ) -> None:
        self._hub = hub
        self._repository = repository
        self._engine = engine
        self._load_timeout_s = load_timeout_s
        self._late = f"not ready within load_timeout_s ({load_timeout_s:g} s)"
        self._drain_timeout_s = drain_timeout_s
        self._active: dict[ModelKey, ServedModel] = {}
        self._candidates: dict[ModelKey, ServedModel] = {}
        self._retiring: dict[ModelKey, ServedModel] = {}
        self._reasons: dict[tuple[str, str], str] = {}
        self._required: set[str] = set()
        """Models of the start that could not be read and that readiness waits for."""
        # Only while somebody holds or awaits it: names come from clients.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, inventory: Inventory) -> int:
        """Serve what the instance begins with; readiness waits for it, nobody else does.

        Returns:
            The generation of the directory that says so.
        """
        self._active = {served.key: served for served in inventory.models}
        self._reasons = {(each.name, each.version): each.reason for each in inventory.broken}
        self._required = {each.name for each in inventory.broken if each.required}
        generation = self._publish()
        for each in inventory.broken:
            self._hub.load_failures.count(each.name, names.LOAD_CONFIGURATION)
        return generation

    def stop(self) -> None:
        """Let go of what is still being retired; the engine ends it, and gets no more orders."""
        self._engine = lambda _models, _candidates: None
        for task in self._tasks:
            task.cancel()

    # -- orders -------------------------------------------------------------------------

    async def load(self, name: str, *, allow_signature_change: bool = False) -> None:
        """Serve what the model's folder holds now; returns once every gateway answers with it.

        What has not changed is left alone. A version that cannot be loaded leaves the one in
        its place as it is, and so does one whose tensors are not those that clients know, unless
        `allow_signature_change`.

        Raises:
            ModelNotFound: there is no such folder.
            LoadFailed: a version could not be loaded; says why.
        """
        async with self._lock(name):
            wanted = await self._read(name)
            self._forget_reasons(name)
            fresh = [served for served in wanted if served.key not in self._active]
            await self._cleared({served.key for served in fresh})
            changed = {} if allow_signature_change else self._changed_signatures(name, fresh)
            self._hub.load_failures.count(name, names.LOAD_SIGNATURE, len(changed))
            failed = changed | await self._try(
                [served for served in wanted if served.key not in changed]
            )
            own = {key: self._own(key, why) for key, why in failed.items()} | changed
            kept = {served.key for served in wanted if served.key not in failed}
            replaced = [
                served
                for served in self._of(name)
                if served.key not in kept and (not failed or _replaced(served, fresh, failed))
            ]
            for served in fresh:
                self._candidates.pop(served.key, None)
                if served.key not in failed:
                    self._active[served.key] = served
            self._reasons.update({key[:2]: why for key, why in failed.items()})
            if len(failed) < len(wanted):
                self._required.discard(name)
            await self._retire(replaced)
            for key in failed:
                _report_refused(key, own[key])
            if failed:
                raise _logged(LoadFailed(_sentence(name, failed, self._answers(name))))
            versions = _versions(self._of(name))
            said = f"model '{name}' serves version {versions}"
            report(Event.VERSION_SERVED, said, model=name, version=versions)

    async def unload(self, name: str) -> None:
        """Stop serving a model; returns once no gateway answers for it any more.

        Raises:
            ModelNotFound: there is no such model, in the server or in its folder.
        """
        async with self._lock(name):
            gone = self._of(name)
            if not gone and not self._repository.holds(name):
                raise _no_such_model("unload", name)
            self._forget_reasons(name)
            self._required.discard(name)
            await self._retire(gone)
            report(Event.MODEL_UNLOADED, f"model '{name}' is unloaded", model=name)

    async def fall_back(
        self, broken: ServedModel, why: str, earlier: Sequence[ServedModel]
    ) -> None:
        """Serve the first of `earlier` that can be loaded, in the place of a version that cannot.

        Args:
            broken: what is served and does not answer.
            why: what keeps it from answering.
            earlier: other versions of the model.
        """
        async with self._lock(broken.name):
            own = self._own(broken.key, why)
            for served in earlier:
                if not self.serves(broken.key):  # somebody has given other orders meanwhile
                    return
                await self._cleared({served.key})
                failed = await self._try([served])
                del self._candidates[served.key]
                if failed:
                    self._reasons[served.key[:2]] = failed[served.key]
                    _report_refused(served.key, self._own(served.key, failed[served.key]))
                    continue
                self._active[served.key] = served
                self._reasons[broken.key[:2]] = why
                await self._retire([broken])
                break
            else:
                self._publish()
            _report_refused(broken.key, own)
            if served.key in self._active:
                report(
                    Event.EARLIER_VERSION_SERVED,
                    f"version {served.version} of model '{served.name}' serves in the place of "
                    f"version {broken.version}",
                    model=served.name,
                    version=served.version,
                )

    def index(self) -> list[IndexEntry]:
        """Return every version that is served or was tried, and every other folder's model."""
        unready = self._unready()
        found: dict[tuple[str, str], IndexEntry] = {}
        loaded = self.loaded
        for (name, version), reason in self._reasons.items():
            if version or name not in loaded:
                found[name, version] = IndexEntry(name, version, "UNAVAILABLE", reason)
        for name, version, _ in self._candidates:
            found[name, version] = IndexEntry(name, version, "LOADING", "")
        for key in self._active:
            if key[:2] in unready:
                reason = self._hub.failures.of(key) or unready[key[:2]]
                found[key[:2]] = IndexEntry(key[0], key[1], "UNAVAILABLE", reason)
            else:
                reason = self._reasons.get(key[:2]) or self._reasons.get((key[0], ""), "")
                found[key[:2]] = IndexEntry(key[0], key[1], "READY", reason)
        known = {name for name, _ in found}
        for name in self._folders():
            if name not in known:
                found[name, ""] = IndexEntry(name, "", "UNAVAILABLE", UNLOADED)
        return sorted(found.values(), key=lambda entry: (entry.name, int(entry.version or 0)))

    def serves(self, key: ModelKey) -> bool:
        """Whether clients are to be answered with a revision."""
        return key in self._active

    @property
    def loaded(self) -> set[str]:
        """Names of the models that are served."""
        return {name for name, _, _ in self._active}

    def _unready(self) -> dict[tuple[str, str], str]:
        """Return what a gateway cannot answer with, and why, by name and version."""
        return {
            which: why
            for status in self._hub.gateway_statuses()
            for which, why in status.why_unready.items()
        }

    def _answers(self, name: str) -> bool:
        """Whether a version of the model answers; one that is served may never have."""
        unready = self._unready()
        return any(served.key[:2] not in unready for served in self._of(name))

    # -- steps --------------------------------------------------------------------------

    async def _read(self, name: str) -> list[ServedModel]:
        if not self._repository.holds(name):
            raise _no_such_model("load", name)
        try:
            return await asyncio.to_thread(self._served, name)
        except ConfigError as error:
            self._reasons[name, ""] = str(error)
            self._publish()
            self._hub.load_failures.count(name, names.LOAD_CONFIGURATION)
            report(Event.VERSION_REFUSED, str(error), model=name)
            raise _logged(LoadFailed(f"failed to load '{name}', {error}")) from None

    def _served(self, name: str) -> list[ServedModel]:
        with readable(self._repository.root / name):
            return [served_model(entry) for entry in self._repository.entries(name)]

    def _changed_signatures(self, name: str, fresh: Sequence[ServedModel]) -> dict[ModelKey, str]:
        """Return why, for each new revision that clients of the one before would stumble over."""
        found: dict[ModelKey, str] = {}
        for served in fresh:
            before = _predecessor(served, self._of(name))
            difference = before and signature_difference(config_of(before), config_of(served))
            if before and difference:
                found[served.key] = (
                    f"its signature is not that of version {before.version}, which answers now: "
                    f"{difference}; if clients are ready for it, load it with the parameter "
                    f"{ALLOW_SIGNATURE_CHANGE}: true"
                )
        return found

    async def _cleared(self, keys: set[ModelKey]) -> None:
        """Wait until nothing of an earlier time is left: it could be proven while it ends."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._drain_timeout_s + FOLLOW_S
        while (left := deadline - loop.time()) > 0:
            there = {member.key for member in self._hub.directory.of_role("replica")}
            if not keys & (there | self._retiring.keys()):
                return
            await self._hub.news(min(left, LOOK_S))

    async def _try(self, wanted: Sequence[ServedModel]) -> dict[ModelKey, str]:
        """Have gateways prove what is new; returns why, for each version that cannot answer."""
        fresh = [served for served in wanted if served.key not in self._active]
        for served in fresh:
            self._hub.failures.forget(served.key)
            self._candidates[served.key] = served
        try:
            return await self._proven(wanted, self._publish())
        except asyncio.CancelledError:  # whoever gave the order has gone
            for served in fresh:
                del self._candidates[served.key]
            self._publish()
            raise

    async def _proven(self, wanted: Sequence[ServedModel], generation: int) -> dict[ModelKey, str]:
        waiting = {served.key for served in wanted}
        failed: dict[ModelKey, str] = {}
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._load_timeout_s
        while waiting and (left := deadline - loop.time()) > 0:
            for key in list(waiting):
                ready, why = self.standing(key, generation)
                if ready or why:
                    waiting.discard(key)
                if why:
                    failed[key] = why
            if waiting:
                await self._hub.news(min(left, LOOK_S))
        for name, _, _ in waiting:
            self._hub.load_failures.count(name, names.LOAD_TIMEOUT)
        return {**failed, **dict.fromkeys(waiting, self._late)}

    def standing(self, key: ModelKey, generation: int) -> tuple[bool, str]:
        """Whether every gateway can answer with a revision; and why it failed, if it has.

        Args:
            key: of a revision that is served, or tried.
            generation: of a directory with it; gateways that do not know it yet do not count.
        """
        if (failure := self._hub.failures.of(key)) is not None:
            return False, failure
        ready = 0
        for status in self._hub.gateway_statuses():
            if status.generation < generation:
                continue
            if key in self._active:
                unready = status.why_unready
                if key[:2] in unready and key in status.disproved:
                    return False, unready[key[:2]]
                ready += key[:2] not in unready
            for each in status.candidates:
                if each.key == key and each.state == "UNAVAILABLE":
                    return False, each.reason
                ready += each.key == key and each.state == "READY"
        return ready >= self._hub.gateways_wanted, ""

    def _own(self, key: ModelKey, why: str) -> str:
        """Return why a revision failed where that was found here; else an empty text."""
        return why if why in (self._late, self._hub.failures.noted(key)) else ""

    async def _retire(self, gone: Sequence[ServedModel]) -> None:
        """Tell gateways what is active now; end what is gone once they are done with it."""
        for served in gone:
            del self._active[served.key]
            self._retiring[served.key] = served
            if not any(key[:2] == served.key[:2] for key in self._active):
                self._reasons.setdefault(served.key[:2], UNLOADED)
        generation = self._publish()
        if gone:
            task = asyncio.get_running_loop().create_task(self._end(generation, gone))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        await self._followed(generation, (), FOLLOW_S)

    async def _end(self, generation: int, gone: Sequence[ServedModel]) -> None:
        """End replicas once gateways have answered all they had admitted for them."""
        await self._followed(generation, {served.key for served in gone}, self._drain_timeout_s)
        for served in gone:
            self._retiring.pop(served.key, None)
        self._publish()

    async def _followed(self, generation: int, gone: Iterable[ModelKey], timeout_s: float) -> None:
        """Wait until every gateway knows `generation` and none still answers with `gone`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while (left := deadline - loop.time()) > 0:
            statuses = self._hub.gateway_statuses()
            if all(
                status.generation >= generation and not set(gone) & set(status.retiring)
                for status in statuses
            ):
                return
            await self._hub.news(min(left, LOOK_S))

    def _publish(self) -> int:
        active, candidates = tuple(self._active.values()), tuple(self._candidates.values())
        self._engine((*active, *self._retiring.values()), candidates)
        return self._hub.set_models(active, candidates, self.broken)

    @property
    def broken(self) -> tuple[BrokenModel, ...]:
        """What was found, or tried, and cannot be served."""
        return tuple(
            BrokenModel(name, version, reason, name in self._required)
            for (name, version), reason in self._reasons.items()
            if reason != UNLOADED
        )

    def _of(self, name: str) -> list[ServedModel]:
        return [served for served in self._active.values() if served.name == name]

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())

    def _forget_reasons(self, name: str) -> None:
        self._reasons = {key: why for key, why in self._reasons.items() if key[0] != name}

    def _folders(self) -> list[str]:
        try:
            return self._repository.names()
        except (ConfigError, OSError):  # the folder is gone; what serves goes on
            return []


def _report_refused(key: ModelKey, why: str = "") -> None:
    """Log that a version is not served.

    Args:
        key: the version.
        why: the hub's own reason; empty where a replica or a gateway found it: what they say may
            quote the model, and they have logged it without that.
    """
    name, version, _ = key
    said = why or "its lines model_load_failed or version_unproven tell why"
    said = f"version {version} of model '{name}' is refused: {said}"
    report(Event.VERSION_REFUSED, said, model=name, version=version)


def _logged(error: LoadFailed) -> LoadFailed:
    error.logged = True
    return error


def _predecessor(served: ServedModel, active: Sequence[ServedModel]) -> ServedModel | None:
    """Return what answers in the place of a revision: its own version, or the newest one."""
    same = (other for other in active if other.version == served.version)
    newest = max(active, key=lambda other: int(other.version), default=None)
    return next(same, newest)


def _replaced(
    served: ServedModel, fresh: Sequence[ServedModel], failed: dict[ModelKey, str]
) -> bool:
    """Whether a revision that works takes the place of `served`."""
    return any(
        new.version == served.version and new.key not in failed
        for new in fresh
        if new.name == served.name
    )


def _no_such_model(order: str, name: str) -> ModelNotFound:
    """The error begins as all that keep a model from being loaded; clients look for that."""
    name = name[:200]
    return ModelNotFound(f"failed to {order} '{name}', {unknown_model(name).message}")


def _sentence(name: str, failed: dict[ModelKey, str], answers: bool) -> str:
    reasons = "; ".join(f"version {version}: {why}" for (_, version, _), why in failed.items())
    rest = "; what served before goes on" if answers else ""
    return f"failed to load '{name}', {reasons}{rest}"


def _versions(models: Sequence[ServedModel]) -> str:
    return ", ".join(sorted((served.version for served in models), key=int))
