"""The shared clock: what is computed once a tick is what each limit says."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from types import SimpleNamespace

from serving.gateway.direct import clock as clock_module
from serving.gateway.direct.clock import Clock
from serving.gateway.direct.limits import Limits

LIMITS = Limits(head_s=1, body_s=2, idle_s=3, stall_s=4, linger_s=5)


def test_limits_begin_with_the_last_tick(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(clock_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    clock = Clock(LIMITS)
    for tick in (100.0, 107.5):
        now[0] = tick
        clock.tick()
        limits = clock.head_until, clock.body_until, clock.idle_until, clock.stall_until
        assert (*limits, clock.linger_until) == (tick + 1, tick + 2, tick + 3, tick + 4, tick + 5)
        assert clock.now == tick
    assert clock.elapsed_s == 7.5


def test_the_date_is_a_header_line():
    name, value = Clock(LIMITS).date.decode().removesuffix("\r\n").split(": ", 1)
    assert name == "date"
    assert value.endswith("GMT")
    assert parsedate_to_datetime(value).tzinfo is not None
