"""How requests are settled, why waiting ones were given up, and the batcher's sentences."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from serving import errors
from serving.dataplane.requests import rejections
from serving.dataplane.requests.answer import Answer
from serving.dataplane.requests.bound import Bound
from serving.dataplane.requests.pending import Pending, Whole
from serving.dataplane.requests.rejections import abandoned_because, settle
from serving.errors import ClientGone, DeadlineExceeded, ModelFailed, VigilError


def pending() -> Pending:
    bound = Bound((np.zeros((1, 1)),), 1, ((1,),), (), None)
    future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    return Pending("i", bound, future, 0.0)


# -- settling ---------------------------------------------------------------------------------


@pytest.mark.parametrize("timed", [True, False])
async def test_a_request_that_is_settled_waits_for_no_deadline(timed: bool) -> None:
    item, error = pending(), ModelFailed("no")
    if timed:
        item.timer = asyncio.get_running_loop().call_later(3600, lambda: None)
    settle(item, error)
    assert item.future.exception() is error
    assert item.timer is None or item.timer.cancelled()


async def test_the_first_answer_counts() -> None:
    item = pending()
    item.answer({})
    settle(item, ModelFailed("no"))
    assert item.future.exception() is None


# -- why it was given up ----------------------------------------------------------------------

ENDS: dict[str, tuple[Callable[[Pending], Any], str]] = {
    "waits": (lambda _item: None, "disconnect"),
    "cancelled": (lambda item: item.future.cancel(), "disconnect"),
    "client gone": (lambda item: item.fail(ClientGone("gone")), "disconnect"),
    "late": (lambda item: item.fail(DeadlineExceeded("late")), "deadline"),
    "failed": (lambda item: item.fail(ModelFailed("no")), "failed"),
    "answered": (lambda item: item.answer({}), "failed"),
}


@pytest.mark.parametrize(("end", "reason"), ENDS.values(), ids=ENDS.keys())
async def test_why_a_request_is_not_computed(end: Any, reason: str) -> None:
    item = pending()
    end(item)
    assert abandoned_because(item) == reason
    if item.future.done() and not item.future.cancelled():
        item.future.exception()  # looked at, so that nobody complains that nobody did


@pytest.mark.parametrize(("end", "reason"), ENDS.values(), ids=ENDS.keys())
async def test_of_a_part_the_whole_request_says_why(end: Any, reason: str) -> None:
    part, item = pending(), pending()
    part.whole = Whole(item)
    end(item)
    part.future.cancel()
    assert abandoned_because(part) == reason


# -- sentences --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "kind", "retry_after_s", "sentence"),
    [
        (rejections.no_replica("m"), errors.NoReplica, 1,
         "no replica of model 'm' is ready; retry later"),
        (rejections.broken("m"), errors.ModelFailed, None,
         "model 'm' could not be asked; see the server's log"),
        (rejections.ends_replicas("m", "ran out of memory"), errors.ModelFailed, None,
         ("the replica of model 'm' that computed this request ran out of memory; the request is "
         "not sent again: change it, or correct the model")),
        (rejections.ends_again("m", "ran out of memory"), errors.ModelFailed, None,
         ("a replica of model 'm' that computed the same inputs ran out of memory; they are not "
         "computed again for a while: change them, or correct the model")),
        (rejections.too_late("m"), errors.DeadlineExceeded, None,
         "the deadline passed before model 'm' answered; allow more time"),
        (rejections.cannot_be_in_time("m", 0.0123456), errors.DeadlineExceeded, None,
         ("model 'm' needs at least 12.3 ms for this request now, and its deadline is earlier; "
         "allow more time or retry later")),
        (rejections.queue_full("m"), errors.QueueFull, 1,
         "the queue of model 'm' is full; retry later"),
        (rejections.too_large("m", 9, 8), errors.PayloadTooLarge, None,
         "request has 9 rows; model 'm' takes at most 8 per request"),
        (rejections.too_heavy("m", (3 << 20) - 1), errors.PayloadTooLarge, None,
         ("the inputs are larger than the queue of model 'm', which holds 2 MiB; send fewer rows "
         "per request")),
        (rejections.several_versions(3), errors.ModelNotReady, 1,
         ("the upstream server answered the parts of this request by different versions of the "
         "model, also when they were sent again (3 times); retry when its roll-out is over, or "
         "send fewer rows")),
        (rejections.not_joined(), errors.ModelFailed, None,
         "internal error; see the server's log"),
        (rejections.gone(), errors.ClientGone, None, "the client went away before the answer"),
    ],
)  # fmt: skip
def test_each_says_what_to_change_and_when_to_come_again(
    error: VigilError, kind: type[VigilError], retry_after_s: float | None, sentence: str
) -> None:
    assert type(error) is kind
    assert (error.message, error.retry_after_s) == (sentence, retry_after_s)
    # The log has a line of its own about parts that do not fit together, and of no other.
    assert error.logged == (sentence == rejections.not_joined().message)
