"""Orders and questions about what a server serves, logs and traces, and the repository's index."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

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
