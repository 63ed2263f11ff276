"""Changes what a running instance serves: new versions in, old ones out, nothing lost between.

Replicas of what is new are started first and proven by every gateway; only then does it answer
clients, and only after that are the replicas of what it replaces ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final
from weakref import WeakValueDictionary

from serving.channel.messages.directory import Inventory, ModelKey, ServedModel
from serving.config import ConfigError, signature_difference
from serving.control.gateway_waits import GatewayWaits
from serving.control.load_sentences import (
    failed_reasons,
    load_failed,
    no_such_model,
    report_refused,
    version_list,
)
from serving.control.registry import Registry
from serving.control.served_model import config_of, served_model
from serving.control.served_state import ServedState
from serving.models.repository.folder import ModelRepository, readable
from serving.protocol.repository import ALLOW_SIGNATURE_CHANGE, IndexEntry
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report
from serving.telemetry.metrics.models import LOAD_CONFIGURATION, LOAD_SIGNATURE

Engine = Callable[[Sequence[ServedModel], Sequence[ServedModel]], None]


class ModelControl:
    """Loads and unloads models. Belongs to the control plane's loop.

    Args:
        registry: tells gateways what to serve, and hears how they fare.
        repository: where models lie.
        engine: told which models must have replicas: those that serve, and candidates.
        load_timeout_s: what loading may take.
        drain_timeout_s: what answering the rest of the old ones' requests may take.

    Attributes:
        gateways: tells how gateways fare with a revision.
    """

    def __init__(
        self,
        registry: Registry,
        repository: ModelRepository,
        engine: Engine,
        *,
        load_timeout_s: float,
        drain_timeout_s: float,
    ) -> None:
        self._registry = registry
        self._repository = repository
        self._engine = engine
        self._state = ServedState()
        self.gateways: Final = GatewayWaits(registry, self._state, load_timeout_s, drain_timeout_s)
        # Only while somebody holds or awaits it: names come from clients.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, inventory: Inventory) -> int:
        """Serve what the instance begins with; readiness waits for it, nobody else does.

        Returns:
            The generation of the directory that says so.
        """
        self._state.begin(inventory)
        generation = self._publish()
        for each in inventory.broken:
            self._registry.load_failures.count(each.name, LOAD_CONFIGURATION)
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
            self._state.forget_reasons(name)
            fresh = [served for served in wanted if served.key not in self._state.active]
            await self.gateways.cleared({served.key for served in fresh})
            changed = {} if allow_signature_change else self._changed_signatures(fresh)
            self._registry.load_failures.count(name, LOAD_SIGNATURE, len(changed))
            failed = changed | await self._try(
                [served for served in wanted if served.key not in changed]
            )
            own = {key: self._own(key, why) for key, why in failed.items()} | changed
            replaced = self._state.replaced(name, wanted, failed)
            self._state.promote(fresh, failed)
            if len(failed) < len(wanted):
                self._state.required.discard(name)
            await self._retire(replaced)
            for key in failed:
                report_refused(key, own[key])
            if failed:
                raise load_failed(name, failed_reasons(failed), goes_on=self._answers(name))
            versions = version_list(self._state.of(name))
            said = f"model '{name}' serves version {versions}"
            report(Event.VERSION_SERVED, said, model=name, version=versions)

    async def unload(self, name: str) -> None:
        """Stop serving a model; returns once no gateway answers for it any more.

        Raises:
            ModelNotFound: there is no such model, in the server or in its folder.
        """
        async with self._lock(name):
            gone = self._state.of(name)
            if not gone and not self._repository.holds(name):
                raise no_such_model("unload", name)
            self._state.forget_reasons(name)
            self._state.required.discard(name)
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
                await self.gateways.cleared({served.key})
                failed = await self._try([served])
                self._state.promote([served], failed)
                if failed:
                    report_refused(served.key, self._own(served.key, failed[served.key]))
                    continue
                self._state.reasons[broken.key[:2]] = why
                await self._retire([broken])
                break
            else:
                self._publish()
            report_refused(broken.key, own)
            if self.serves(served.key):
                report(
                    Event.EARLIER_VERSION_SERVED,
                    f"version {served.version} of model '{served.name}' serves in the place of "
                    f"version {broken.version}",
                    model=served.name,
                    version=served.version,
                )

    def index(self) -> list[IndexEntry]:
        """Return every version that is served or was tried, and every other folder's model."""
        return self._state.index(self._folders(), self.gateways.unready())

    def serves(self, key: ModelKey) -> bool:
        """Whether clients are to be answered with a revision."""
        return key in self._state.active

    @property
    def loaded(self) -> set[str]:
        """Names of the models that are served."""
        return self._state.loaded

    def _answers(self, name: str) -> bool:
        """Whether a version of the model answers; one that is served may never have."""
        unready = self.gateways.unready()
        return any(served.key[:2] not in unready for served in self._state.of(name))

    # -- steps --------------------------------------------------------------------------

    async def _read(self, name: str) -> list[ServedModel]:
        if not self._repository.holds(name):
            raise no_such_model("load", name)
        try:
            return await asyncio.to_thread(self._served, name)
        except ConfigError as error:
            self._state.reasons[name, ""] = str(error)
            self._publish()
            self._registry.load_failures.count(name, LOAD_CONFIGURATION)
            report(Event.VERSION_REFUSED, str(error), model=name)
            raise load_failed(name, str(error)) from None

    def _served(self, name: str) -> list[ServedModel]:
        with readable(self._repository.root / name):
            log = self._repository.log
            return [served_model(entry, log) for entry in self._repository.entries(name)]

    def _changed_signatures(self, fresh: Sequence[ServedModel]) -> dict[ModelKey, str]:
        """Return why, for each new revision that clients of the one before would stumble over."""
        found: dict[ModelKey, str] = {}
        for served in fresh:
            before = self._state.predecessor(served)
            difference = before and signature_difference(config_of(before), config_of(served))
            if before and difference:
                found[served.key] = (
                    f"its signature is not that of version {before.version}, which answers now: "
                    f"{difference}; if clients are ready for it, load it with the parameter "
                    f"{ALLOW_SIGNATURE_CHANGE}: true"
                )
        return found

    async def _try(self, wanted: Sequence[ServedModel]) -> dict[ModelKey, str]:
        """Have gateways prove what is new; returns why, for each version that cannot answer."""
        fresh = [served for served in wanted if served.key not in self._state.active]
        for served in fresh:
            self._registry.failures.forget(served.key)
            self._state.candidates[served.key] = served
        try:
            return await self.gateways.proven(wanted, self._publish())
        except asyncio.CancelledError:  # whoever gave the order has gone
            for served in fresh:
                del self._state.candidates[served.key]
            self._publish()
            raise

    def _own(self, key: ModelKey, why: str) -> str:
        """Return why a revision failed where that was found here; else an empty text."""
        return why if why in (self.gateways.late, self._registry.failures.noted(key)) else ""

    async def _retire(self, gone: Sequence[ServedModel]) -> None:
        """Tell gateways what is active now; end what is gone once they are done with it."""
        self._state.retire(gone)
        generation = self._publish()
        if gone:
            task = asyncio.get_running_loop().create_task(self._end(generation, gone))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        await self.gateways.followed(generation)

    async def _end(self, generation: int, gone: Sequence[ServedModel]) -> None:
        """End replicas once gateways have answered all they had admitted for them."""
        await self.gateways.drained(generation, gone)
        for served in gone:
            self._state.retiring.pop(served.key, None)
        self._publish()

    def _publish(self) -> int:
        state = self._state
        active, candidates = tuple(state.active.values()), tuple(state.candidates.values())
        self._engine((*active, *state.retiring.values()), candidates)
        return self._registry.set_models(active, candidates, state.broken)

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())

    def _folders(self) -> list[str]:
        try:
            return self._repository.names()
        except (ConfigError, OSError):  # the folder is gone; what serves goes on
            return []
