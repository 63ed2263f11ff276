"""Feeds incidents with what the control plane hears: findings, versions, monitors that are away."""

from __future__ import annotations

import asyncio
from typing import Final

from serving.channel.messages.causes import Cause
from serving.channel.messages.directory import ServedModel
from serving.config import Incidents
from serving.control.monitor_orders import cause
from serving.control.registry import Registry
from serving.control.served_model import config_of
from serving.control.unjudged import monitors_away
from serving.errors import VigilError
from serving.incidents.deployments import Served
from serving.incidents.service import IncidentService
from serving.incidents.wanted_causes import Wanted
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report

LOOK_S: Final = 1.0


class IncidentFeed:
    """Connects a registry with the incidents of its instance.

    Args:
        registry: the instance.
        incidents: what is fed; it answers what gateways ask.
    """

    def __init__(self, registry: Registry, incidents: IncidentService) -> None:
        self._registry = registry
        self._incidents = incidents
        self._generation: int | None = None
        self._tasks: list[asyncio.Task[None]] = []
        registry.on_findings = incidents.told
        registry.requests.on_incidents = incidents.listed
        registry.requests.on_incident = incidents.incident

    def start(self) -> None:
        """Begin; needs a running loop, and that it is known what is served."""
        self.look()
        self._incidents.start()
        create = asyncio.get_running_loop().create_task
        self._tasks = [create(self._run()), create(self._explain())]

    def stop(self) -> None:
        """Feed nothing any more: what ends now is no silence."""
        for task in self._tasks:
            task.cancel()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                self.look()
            except Exception as error:  # noqa: BLE001 - the next look may be well
                report(Event.INTERNAL_ERROR, "incidents could not be fed", error=error)

    async def _explain(self) -> None:
        """Have causes looked for, one after the other: nobody waits for them."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                while wanted := self._incidents.wanted_cause():
                    self._incidents.explained(wanted, await self._cause(wanted))
            except Exception as error:  # noqa: BLE001 - the next cause may be found
                report(Event.INTERNAL_ERROR, "the cause of an incident got lost", error=error)

    async def _cause(self, wanted: Wanted) -> Cause:
        try:
            return await cause(self._registry, wanted.asked)
        except VigilError as error:
            return Cause(summary=f"the cause is not known: {error.message}")

    def look(self) -> None:
        """Tell what is served, and which monitors are not there."""
        directory = self._registry.directory
        if directory.generation != self._generation:
            self._generation = directory.generation
            self._incidents.follow(map(_served, directory.models))
        away = monitors_away(directory, self._registry.states())
        self._incidents.away({ident: why for ident, (why, _) in away.items()})


def _served(model: ServedModel) -> Served:
    try:
        rules = config_of(model).monitors.incidents
    except ValueError:  # of another release; no gateway serves it
        rules = Incidents()
    return Served(model.name, model.version, model.revision, rules)
