"""Tells when the start of an instance is over: what can answer answers, and the rest has failed.

Readiness does not tell it: a required model that cannot be loaded keeps the instance from being
ready, and must not keep explanations, labels and findings from the models that answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from serving.channel.messages.directory import ServedModel
from serving.control.lifecycle import ModelControl
from serving.control.registry import Registry
from serving.control.served_model import config_of


class Starting:
    """The required models of the start that neither answer nor have failed yet.

    Args:
        registry: hears how gateways fare.
        control: serves the models.
        models: what the instance begins with.
        generation: of the directory that told gateways of it.
        limit_s: seconds after which the start is over in any case.
    """

    def __init__(
        self,
        registry: Registry,
        control: ModelControl,
        models: Sequence[ServedModel],
        generation: int,
        limit_s: float,
    ) -> None:
        self._registry = registry
        self._control = control
        self._generation = generation
        self._awaited = {served.key for served in models if config_of(served).required}
        self._until = asyncio.get_running_loop().time() + limit_s

    def over(self) -> bool:
        """Whether every gateway serves what can answer; ask again until it is true."""
        # What has failed once may be tried again for ever: it is not waited for twice.
        self._awaited = {key for key in self._awaited if not self._settled(key)}
        if asyncio.get_running_loop().time() >= self._until:
            return True
        told = sum(
            status.generation >= self._generation for status in self._registry.gateway_statuses()
        )
        return not self._awaited and told >= self._registry.gateways_wanted

    def _settled(self, key: tuple[str, str, str]) -> bool:
        if not self._control.serves(key):
            return True
        ready, why = self._control.gateways.standing(key, self._generation)
        return ready or bool(why)
