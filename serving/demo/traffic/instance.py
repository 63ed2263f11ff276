"""The instance that a day is played against, as far as the player knows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from serving.channel.messages.incidents import Incident


class Instance(Protocol):
    """Every method raises VigilError where the instance cannot be asked, or refuses."""

    def await_judges(self, model: str) -> None:
        """Return once what is sent is judged."""

    def infer(self, model: str, body: bytes) -> bytes:
        """Return the answer to an inference."""

    def push_labels(self, model: str, body: bytes) -> None:
        """Push labels."""

    def incidents(self) -> Sequence[Incident]:
        """Return all incidents, those that are not over first."""
