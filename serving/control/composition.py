"""Composes what controls a running instance: the models, who may change them, and the poll."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from serving.channel.messages.directory import Inventory, ModelKey, ServedModel
from serving.channel.messages.settings import Settings
from serving.config import ServerConfig
from serving.control.commands import Commands, at_once
from serving.control.fall_back import fall_back, may_fall_back
from serving.control.incident_feed import IncidentFeed
from serving.control.lifecycle import Engine, ModelControl
from serving.control.model_poll import ModelPoll
from serving.control.registry import Registry
from serving.control.runtime_settings import Chosen, RuntimeSettings
from serving.control.starting import Starting
from serving.incidents.saving import Store
from serving.incidents.service import IncidentService
from serving.models.repository.folder import ModelRepository
from serving.telemetry.logs.switch import LogSwitch


class ControlPlane:
    """Everything that changes what `registry` tells gateways to serve.

    Args:
        registry: the instance.
        config: where models lie, and the bounds of loading.
        engine: starts and stops replicas; see `ModelControl`.
        on_settings: called after every change of how gateways log and trace.
        switch: applies log settings here; none: one for the process's own handlers.
        kept: returns once a successor of this room would know all that was ordered here so far.
        instance: tells its incidents from those of others in the same database.

    Attributes:
        commands: takes orders.
        incidents: what is wrong with models, for people.
    """

    def __init__(
        self,
        registry: Registry,
        config: ServerConfig,
        engine: Engine,
        on_settings: Callable[[], None] = lambda: None,
        switch: LogSwitch | None = None,
        kept: Callable[[], Awaitable[None]] = at_once,
        instance: str = "",
    ) -> None:
        repository = self._repository = ModelRepository(
            config.models, config.remote_hosts, config.log
        )
        self._control = ModelControl(
            registry,
            repository,
            engine,
            load_timeout_s=config.load_timeout_s,
            drain_timeout_s=config.drain_timeout_s,
        )
        self._poll = (
            ModelPoll(self._control, repository, config.poll_models_s)
            if config.poll_models_s
            else None
        )
        self._polling: asyncio.Task[None] | None = None
        self._settling: dict[ModelKey, asyncio.Task[None]] = {}
        self._starting: Starting | None = None
        self._load_timeout_s = config.load_timeout_s
        self._registry = registry
        self._switch = switch or LogSwitch()
        self._on_settings = on_settings
        self._settings = RuntimeSettings(config.data_dir.absolute() / "traces", self._set)
        self.commands = Commands(self._control, self._settings, kept)
        registry.requests.on_control = self.commands.answer
        self.incidents = IncidentService(
            partial(_make_store, config.store_url, config.data_dir, instance),
            config.webhooks,
            registry.series,
        )
        self._feed = IncidentFeed(registry, self.incidents)

    @property
    def chosen(self) -> Chosen:
        """What was set, for a successor of this room."""
        return self._settings.chosen

    def start(self, inventory: Inventory, chosen: Chosen | None = None) -> None:
        """Serve these models, and look for others if that is wanted.

        Args:
            inventory: what there is from the beginning.
            chosen: what was set in the room that this one replaces.
        """
        generation = self._control.start(inventory)
        self._starting = Starting(
            self._registry, self._control, inventory.models, generation, self._load_timeout_s
        )
        for served in filter(may_fall_back, inventory.models):
            self._settle(served, generation)
        if chosen is not None and chosen.number:
            self._settings.restore(chosen)
        if self._poll:
            self._polling = asyncio.get_running_loop().create_task(self._poll.run())
        self._feed.start()

    @property
    def started(self) -> bool:
        """Whether each required model of the start answers or has failed; see `Starting`."""
        return self._starting is not None and self._starting.over()

    def settled(self, key: ModelKey) -> bool:
        """Whether a version of the start stays what it is; else an earlier one may replace it."""
        return key not in self._settling

    def _settle(self, served: ServedModel, generation: int) -> None:
        task = asyncio.get_running_loop().create_task(
            fall_back(self._registry, self._control, self._repository, served, generation)
        )
        self._settling[served.key] = task
        task.add_done_callback(lambda _: self._settling.pop(served.key, None))

    def _set(self, settings: Settings) -> None:
        self._switch.apply(settings.log)
        self._registry.set_settings(settings)
        self._on_settings()

    def stop(self) -> None:
        """Change nothing any more."""
        if self._polling:
            self._polling.cancel()
        for task in self._settling.values():
            task.cancel()
        self._control.stop()
        self._feed.stop()

    async def finish(self) -> None:
        """Save what is not saved yet; nothing comes after it. Bounded to a few seconds."""
        await self.incidents.stop()


def _make_store(store_url: str | None, data_dir: Path, instance: str) -> Store:
    # SQLAlchemy takes a while to import; this runs in the store's thread.
    from serving.store.database import Database, url_of
    from serving.store.incident_store import IncidentStore

    return IncidentStore(Database(url_of(store_url, data_dir)), instance)
