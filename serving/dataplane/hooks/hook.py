"""What consumers of records implement: one method for each kind of record."""

from __future__ import annotations

from typing import Protocol

from serving.dataplane.hooks.records import BatchDone, RequestRefused


class BatchHook(Protocol):
    """Is told of batches that are done."""

    def batch_done(self, done: BatchDone) -> None:
        """Take in a record, a turn of the loop after the answers; quickly."""


class RefusalHook(Protocol):
    """Is told of requests that no batch has answered; under overload thousands a second."""

    def request_refused(self, refused: RequestRefused) -> None:
        """Take in a record, before the client has its answer; quickly."""
