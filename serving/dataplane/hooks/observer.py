"""What a model's queue and its guards tell of: batches that came back, and single events."""

from __future__ import annotations

from typing import Protocol

from serving.channel.messages.inference import BatchResult, GuardResult
from serving.dataplane.requests.batch import Batch


class BatchObserver(Protocol):
    """Told by a model's queue what happens to batches; must be quick and must not raise."""

    def guards_judged(self, results: tuple[GuardResult, ...]) -> None:
        """The gateway's guards have looked at a batch."""

    def retried(self, requests: int) -> None:
        """Requests of a lost replica go to another one."""

    def deadly(self) -> None:
        """A request is answered 500 because computing it ends replicas."""

    def abandoned(self, reason: str, rows: int) -> None:
        """Rows waited and are not computed because nobody wants the answer any more."""

    def answered(self, batch: Batch, result: BatchResult, now: float) -> None:
        """A result came back, and at `now` (monotonic seconds) everybody in `batch` has it."""
