"""A log of this process's own, in memory, with a clock that the test turns."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest

from serving.telemetry.logs.lines import JsonLines
from serving.telemetry.logs.rate_limit import RateLimit
from serving.telemetry.logs.report import Reporter, use
from serving.telemetry.logs.setup import StderrHandler


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Log:
    """Lines that were written, as JSON."""

    def __init__(self, reporter: Reporter, clock: Clock, stream: io.StringIO) -> None:
        self.reporter = reporter
        self.clock = clock
        self.stream = stream

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in self.text.splitlines()]


@pytest.fixture
def log() -> Iterator[Log]:
    clock, stream = Clock(), io.StringIO()
    limit: RateLimit[logging.LogRecord] = RateLimit(burst=2, interval_s=10, clock=clock)
    reporter = Reporter(limit)
    handler = StderrHandler(JsonLines("gateway"))
    handler.setStream(stream)
    root, own = logging.getLogger(), logging.getLogger("vigil")
    level = own.level
    root.addHandler(handler)
    own.setLevel(logging.INFO)
    before = use(reporter)
    yield Log(reporter, clock, stream)
    use(before)
    root.removeHandler(handler)
    own.setLevel(level)


Raise = Callable[[], None]


@pytest.fixture
def caught() -> Callable[[Raise], BaseException]:
    """Calls something that raises, and returns what it raised."""

    def call(raises: Raise) -> BaseException:
        try:
            raises()
        except BaseException as error:
            return error
        raise AssertionError("it did not raise")

    return call
