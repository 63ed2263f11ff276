"""What roles and the control plane tell each other beside the directory."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

CONTROL: Final = "control"
FAILED: Final = "failed"
ENDED: Final = "ended"
DEADLY: Final = "deadly"
EXPLAINER: Final = "explainer"

HUNG: Final = "took too long and was replaced"
"""How a replica ended whose batch hung: `EndedMeta.how`, which its client is told too."""


class FailedMeta(msgspec.Struct, frozen=True):
    """What a replica or an explainer says that could not load its model."""

    model: str
    version: str
    revision: str
    reason: str
    role: Literal["replica", "explainer"] = "replica"


class ExplainerMeta(msgspec.Struct, frozen=True):
    """Asks for the explainer of a model version; answered once it is there."""

    model: str
    version: str


class EndedMeta(msgspec.Struct, frozen=True):
    """How the process of a replica ended, as whoever is its parent knows it; for gateways.

    Attributes:
        id: the replica's.
        how: a clause whose subject is the replica, for example `ended with exit code 3`.
        by_itself: whether its own work ended it; false where somebody else may have.
    """

    id: str
    how: str
    by_itself: bool


class DeadlyMeta(msgspec.Struct, frozen=True):
    """A request that ended a replica, from the gateway that found it out to the others.

    Attributes:
        model, version, revision: what it asked.
        digest: of its inputs.
        sample: a number that requests with the same inputs have, and few others.
        how: as in `EndedMeta`.
    """

    model: str
    version: str
    revision: str
    digest: bytes
    sample: int
    how: str
