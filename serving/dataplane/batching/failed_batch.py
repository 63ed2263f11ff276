"""Answering the requests of a batch that came to nothing."""

from __future__ import annotations

from collections.abc import Sequence

from serving.dataplane.requests.pending import Pending
from serving.dataplane.requests.rejections import broken, settle
from serving.errors import VigilError
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report


def answer_all(items: Sequence[Pending], error: VigilError) -> None:
    """Answer those that have no answer with one error."""
    for item in items:
        settle(item, error)


def answer_broken(
    model: str, version: str, said: str, items: Sequence[Pending], error: BaseException
) -> None:
    """Answer requests that failed by no fault of theirs; the log has why.

    Args:
        said: what failed, a clause.
        error: the reason, which no client is told.
    """
    report(
        Event.BATCH_FAILED,
        said,
        model=model,
        version=version,
        request_id=items[0].id if items else "",
        span=items[0].context.span if items else None,
        traceparent=items[0].context.traceparent if items else b"",
        error=error,
        requests=len(items),
    )
    answer_all(items, broken(model))
