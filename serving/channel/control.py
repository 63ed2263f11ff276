"""What a gateway asks the hub to do: change what is served, and how gateways log and trace."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

CONTROL: Final = "control"
FAILED: Final = "failed"
ENDED: Final = "ended"
DEADLY: Final = "deadly"
EXPLAINER: Final = "explainer"
ALLOW_SIGNATURE_CHANGE: Final = "allow_signature_change"
"""Parameter of a load; see `ControlMeta`."""

Operation = Literal["load", "unload", "index", "trace", "logging"]


class ControlMeta(msgspec.Struct, frozen=True):
    """One order or question.

    Attributes:
        operation: what to do.
        model: which model it is about; empty for all.
        settings: new settings by name, None resets one; None asks for them only.
        allow_signature_change: of a load: whether a version may take and give other tensors than
            the one whose place it takes.
    """

    operation: Operation
    model: str = ""
    settings: dict[str, Any] | None = None
    allow_signature_change: bool = False


class FailedMeta(msgspec.Struct, frozen=True):
    """The last words of a replica or an explainer that could not load its model."""

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


class IndexEntry(msgspec.Struct, frozen=True):
    """One model version in the repository's index.

    Attributes:
        name, version: the version is empty for a model of which none was loaded.
        state: READY, LOADING or UNAVAILABLE.
        reason: why it is not ready, or why its newest files are not what is served.
    """

    name: str
    version: str
    state: str
    reason: str
