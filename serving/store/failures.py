"""Why a database could not do it, in a few kinds: what people and metrics are told of errors."""

from __future__ import annotations

from typing import Final, Literal

Reason = Literal["locked", "full", "damaged", "away", "newer", "driver", "refused"]

SENTENCES: Final[dict[Reason, str]] = {
    "locked": "another program holds it locked",
    "full": "its disk is full",
    "damaged": "its file is damaged",
    "away": "it cannot be reached or opened",
    "newer": "a newer release of Vigil has changed it; use that release, or another store_url",
    "driver": "its driver is not installed; install the extra `postgres`",
    "refused": "it refused a statement",
}


class StoreFailed(Exception):
    """The database could not do it. The message has no text of the driver's: it may hold secrets.

    Attributes:
        reason: the kind of failure.
    """

    def __init__(self, reason: Reason) -> None:
        super().__init__(SENTENCES[reason])
        self.reason: Reason = reason
