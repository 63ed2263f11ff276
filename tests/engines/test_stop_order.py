"""The order to stop: what the first signal does, and what a second one."""

from __future__ import annotations

import threading

from serving.engines.stop_order import StopOrder


def order() -> StopOrder[threading.Event]:
    return StopOrder(threading.Event(), threading.Event())


def test_the_first_asks_and_the_second_hurries() -> None:
    stop = order()
    stop.give()
    assert (stop.asked.is_set(), stop.now.is_set()) == (True, False)
    since = stop.since
    assert since > 0
    stop.give()
    assert stop.now.is_set()
    assert stop.since == since


def test_an_order_without_delay() -> None:
    stop = order()
    stop.give_now()
    assert stop.asked.is_set()
    assert stop.now.is_set()
