"""Why versions could not be loaded, by whoever said so last."""

from __future__ import annotations

from collections.abc import Collection

from serving.channel.messages.directory import ModelKey


class FailureReasons:
    """One reason for each revision whose last replica could not be."""

    def __init__(self) -> None:
        self._reasons: dict[ModelKey, str] = {}
        self._noted: set[ModelKey] = set()
        """Those that no replica has told."""

    def told(self, key: ModelKey, reason: str) -> None:
        """Take in what a replica says of itself; it may quote its model."""
        self._reasons[key] = reason
        self._noted.discard(key)

    def note(self, key: ModelKey, reason: str) -> None:
        """Take in how its process ended, unless it has said why itself."""
        if key not in self._reasons:
            self._reasons[key] = reason
            self._noted.add(key)

    def forget(self, key: ModelKey) -> None:
        """A replica is there, or the revision is to be tried once more."""
        self._reasons.pop(key, None)
        self._noted.discard(key)

    def keep(self, known: Collection[ModelKey]) -> None:
        """Forget all others than these."""
        for key in self._reasons.keys() - set(known):
            self.forget(key)

    def of(self, key: ModelKey) -> str | None:
        """Return why the last replica of a revision could not be; None when one is there."""
        return self._reasons.get(key)

    def noted(self, key: ModelKey) -> str | None:
        """Return why the process of a revision's replica ended, if no replica has told.

        What a replica says of itself may quote its model; this does not.
        """
        return self._reasons[key] if key in self._noted else None
