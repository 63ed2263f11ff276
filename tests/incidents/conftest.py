"""Findings, a clock that is set, and a service whose store is in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from serving.channel.messages.findings import FindingRecord
from serving.config import Incidents
from serving.incidents.book import Book, Context
from serving.incidents.causes import grouped
from serving.incidents.deployments import Deployments, Served
from serving.incidents.false_alarms import FalseAlarms


class Clock:
    """A time that only moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now

    def pass_s(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def found(clock: Clock) -> Callable[..., FindingRecord]:
    """Makes a finding of the window that ends now."""

    def make(breached: bool | None = True, **more: Any) -> FindingRecord:
        given: dict[str, Any] = {
            "model": "loans", "version": "1", "monitor": "performance", "metric": "accuracy",
            "subject": "", "value": 0.6, "threshold": 0.9, "direction": "below", "reason": "",
            "n_reference": 0, "n_current": 200, "window": (clock.now - 60, clock.now),
            "age_s": 0.0, "p_value": None, "ci": (0.5, 0.7), "severity": "page", "segment": "",
            "window_id": f"w@{clock.now}",
        }  # fmt: skip
        if breached is None:
            given["reason"] = "stale: no labels for 2 hours; fine before that"
        return FindingRecord(**{**given, "breached": breached, **more})

    return make


class Bench:
    """A book that is fed with findings."""

    def __init__(self, clock: Clock, rules: Incidents) -> None:
        self.clock = clock
        self.told: list[tuple[str | None, Any]] = []
        self.deployments = Deployments()
        self.rules(rules)
        self.false_alarms = FalseAlarms(lambda _: rules.false_alarm_budget, clock)
        self.numbers: Iterator[int] = iter(range(1000))
        self.book = self.make_book()

    def rules(self, rules: Incidents) -> None:
        self.deployments.follow([Served("loans", "1", "r", rules)], self.clock.now - 10_000)

    def make_book(self) -> Book:
        return Book(
            self.deployments,
            self.false_alarms,
            lambda incident, event: self.told.append((event, incident)),
            self.clock,
            lambda: f"i{next(self.numbers)}",
        )

    def judge(self, *findings: FindingRecord, **context: bool) -> None:
        """Have findings judged, a window after the last ones."""
        for key, group in grouped(findings).items():
            self.book.judge(key, group, Context(**context))

    def events(self) -> list[str]:
        return [event for event, _ in self.told if event is not None]

    def active(self) -> list[Any]:
        return list(self.book.active())


@pytest.fixture
def bench(clock: Clock) -> Bench:
    return Bench(clock, Incidents(quiet_windows=2, quiet_s=100))


@pytest.fixture
def eventually() -> Callable[..., Any]:
    """Waits until something is so."""

    async def wait(holds: Callable[[], Any], timeout_s: float = 30.0) -> Any:
        async with asyncio.timeout(timeout_s):
            while not (value := holds()):  # noqa: ASYNC110 - other tasks make it so
                await asyncio.sleep(0.005)
            return value

    return wait
