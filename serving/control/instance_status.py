"""What an instance says of itself to programs: models, members and readiness."""

from __future__ import annotations

import msgspec

from serving.control.members import MemberState
from serving.control.registry import Registry
from serving.control.unjudged import unjudged


class ModelLine(msgspec.Struct, frozen=True):
    """A version that should answer.

    Attributes:
        explainer: how its explainer fares; None if there is nothing to explain.
    """

    name: str
    version: str
    explainer: str | None


class InstanceStatus(msgspec.Struct, frozen=True):
    """The whole answer.

    Attributes:
        ready, reasons: whether it is ready; else why not, one sentence each.
        generation: of the directory.
        restarts: how often each member came back as a new process.
        unjudged: which models nobody judges now, one sentence for each monitor that is away.
    """

    ready: bool
    reasons: list[str]
    generation: int
    models: list[ModelLine]
    members: list[MemberState]
    restarts: dict[str, int]
    unjudged: list[str]


def instance_status(registry: Registry) -> InstanceStatus:
    """Return what `registry` knows of its instance now."""
    ready, reasons = registry.ready()
    directory = registry.directory
    models = [
        ModelLine(served.name, served.version, registry.explainer_state(served))
        for served in directory.models
    ]
    restarts = dict(registry.members.restarts)
    states = registry.members.states()
    away = unjudged(directory, states)
    return InstanceStatus(ready, reasons, directory.generation, models, states, restarts, away)
