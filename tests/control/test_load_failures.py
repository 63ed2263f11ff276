"""Every try to load counts once, whoever finds out that it failed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from serving.channel.messages.control import FailedMeta
from serving.channel.messages.directory import BrokenModel, ServedModel
from serving.channel.messages.reports import GatewayStatus
from serving.control.lifecycle import ModelControl
from serving.control.load_failures import LoadFailures
from serving.control.registry import Registry
from serving.errors import LoadFailed
from serving.telemetry.counters import SeriesSet
from serving.telemetry.metrics.models import LOAD_REASONS, MODEL_LOAD_FAILURES

Wait = Callable[[Callable[[], object]], Awaitable[None]]
WORDS = FailedMeta("m", "1", "", "why")


def counts(series: SeriesSet, model: str = "m") -> dict[str, float]:
    found = {}
    for item in series.snapshot():
        labels = dict(item.attributes)
        if item.name == MODEL_LOAD_FAILURES.name and labels["model"] == model:
            found[labels["reason"]] = item.value
    return found


def some(series: SeriesSet) -> dict[str, float]:
    return {reason: value for reason, value in counts(series).items() if value}


@pytest.fixture
def failures(served: ServedModel) -> tuple[LoadFailures, SeriesSet, ServedModel]:
    series = SeriesSet()
    failures = LoadFailures(series)
    failures.follow([served], [BrokenModel("n", "", "why")])
    return failures, series, served


def test_they_begin_at_zero_for_every_reason(failures: Any) -> None:
    _, series, _ = failures
    assert counts(series, "m") == counts(series, "n") == dict.fromkeys(LOAD_REASONS, 0)


def test_last_words_and_the_end_that_follows_are_one_failure(failures: Any) -> None:
    load, series, served = failures
    words = FailedMeta(served.name, served.version, served.revision, "why")
    for times in (1, 2):
        load.told(words)
        load.ended(served.key)
        assert some(series) == {"load": times}
    load.ended(served.key)  # this one said nothing
    assert some(series) == {"load": 2, "crash": 1}
    load.loaded(served.key)
    load.ended(served.key)  # it had served; that is a restart
    assert some(series) == {"load": 2, "crash": 1}


def test_what_is_not_served_any_more_is_not_counted(failures: Any) -> None:
    load, series, served = failures
    load.follow([], [])
    load.told(WORDS)
    load.ended(served.key)
    load.gateways_say([GatewayStatus(disproved=(served.key,))])
    assert not some(series)


def test_gateways_that_say_the_same_again_and_again(failures: Any) -> None:
    load, series, served = failures
    says = GatewayStatus(disproved=(served.key,))
    load.gateways_say([says, says])
    load.gateways_say([says])
    assert some(series) == {"example": 1}
    load.gateways_say([GatewayStatus()])
    load.gateways_say([says])
    assert some(series) == {"example": 2}


async def test_orders_that_fail_are_counted_by_their_reason(
    control: ModelControl, gateway: Any, registry: Registry, put: Any, eventually: Wait
) -> None:
    await control.load("m")
    assert not some(registry.series)
    put("2")
    gateway.verdict = ("UNAVAILABLE", "the example fails: oh")
    with pytest.raises(LoadFailed):
        await control.load("m")
    assert some(registry.series) == {"example": 1}
    await eventually(lambda: not gateway.directory.candidates)
    gateway.tell()
    gateway.verdict = ("LOADING", "no replica yet")
    control.gateways._load_timeout_s = 0.1
    with pytest.raises(LoadFailed, match="load_timeout_s"):
        await control.load("m")
    assert some(registry.series) == {"example": 1, "timeout": 1}
