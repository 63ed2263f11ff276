"""What is on the console; over HTTP: `test_admin_server.py`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from serving.admin.console import console_data
from serving.channel.messages.directory import Member, ServedModel
from serving.channel.messages.findings import FINDINGS_CHANGED, FindingsChanged
from serving.channel.messages.reports import GatewayStatus, MonitorStatus, Report
from serving.control.history import History
from serving.control.registry import Registry
from serving.control.unjudged import NO_MONITOR
from serving.telemetry.counters import SeriesSet
from serving.telemetry.metrics.guards import GUARD_DECISIONS
from serving.telemetry.metrics.inference import INFERENCE_REQUESTS

Wait = Callable[[Callable[[], object]], Awaitable[None]]
NOTE = "accuracy of model 'm': no verdict yet, 0 of 200 labelled rows"


def shown(registry: Registry) -> Any:
    """The content as the page gets it."""
    return msgspec.json.decode(msgspec.json.encode(console_data(registry, History())))


async def test_what_is_breached_comes_first_and_what_is_unknown_last(
    registry: Registry, join: Any, eventually: Wait, served: ServedModel, make_finding: Any
) -> None:
    registry.set_models([served])
    monitor = join(Member("monitor", "monitor", 1))
    await eventually(lambda: registry.states() and registry.states()[0].ready)
    given = (("a", None), ("b", False), ("c", True), ("a", False))
    told = tuple(make_finding(metric=metric, breached=breached) for metric, breached in given)
    monitor.client.notify(FINDINGS_CHANGED, FindingsChanged(told))
    await eventually(registry.findings)
    order = [(row["metric"], row["breached"]) for row in shown(registry)["findings"]]
    assert order == [("c", True), ("a", False), ("b", False), ("a", None)]


async def test_that_nobody_judges_is_told(
    registry: Registry, join: Any, eventually: Wait, served: ServedModel, make_finding: Any
) -> None:
    """Or an instance whose monitor has died would look as one where all is well."""
    assert shown(registry)["not_judged"] == []  # nor is there anything to judge
    registry.set_models([served])
    assert shown(registry)["not_judged"] == [NO_MONITOR]
    monitor = join(Member("monitor", "monitor", 1))
    monitor.report = Report(True, (), MonitorStatus(notes=(NOTE,), not_judged=(NOTE,)))
    await eventually(lambda: shown(registry)["not_judged"] == [NOTE])
    monitor.client.notify(
        FINDINGS_CHANGED, FindingsChanged((make_finding(metric="a", breached=True),))
    )
    await eventually(registry.findings)
    texts = [problem["text"] for problem in shown(registry)["problems"]]
    assert "drift in model m version 1: a is 0.4, above 0.05" in texts
    await monitor.client.stop()
    await eventually(lambda: not registry.states())
    page = shown(registry)
    assert page["not_judged"] == [NO_MONITOR]
    assert [(row["breached"], row["reason"]) for row in page["findings"]] == [
        (None, "the monitor is gone; breached before that")
    ]
    assert not any("drift in model m" in problem["text"] for problem in page["problems"])


@pytest.mark.parametrize("role", ["gateway", "replica"])
async def test_a_member_is_told_as_it_is(
    registry: Registry, join: Any, eventually: Wait, role: Any
) -> None:
    join(Member(role, "one", 17, "unix:/r", "m", "1", slots=2))
    await eventually(lambda: registry.states() and registry.states()[0].ready)
    (row,) = shown(registry)["members"]
    assert row.pop("age_s") >= 0
    assert row == {
        "role": role, "id": "one", "pid": 17, "model": "m", "version": "1", "slots": 2,
        "ready": True, "restarts": 0,
    }  # fmt: skip


async def test_decisions_of_guards_are_told_with_those_of_late(
    registry: Registry, join: Any, eventually: Wait
) -> None:
    series, of = SeriesSet(), {"model": "m", "version": "1", "guard": "schema"}
    rejected = series.sum(GUARD_DECISIONS, action="reject", **of)
    series.sum(GUARD_DECISIONS, action="flag", **of).add(0)  # never yet: no row
    asked = series.sum(INFERENCE_REQUESTS, outcome="ok", model="m", version="1")
    gateway = join(Member("gateway", "g", 1))
    seconds = iter((0.0, 5.0))
    history = History(lambda: next(seconds))

    async def told(rows: int) -> None:
        rejected.add(rows)
        asked.add(90)
        gateway.report = Report(True, series.snapshot(), GatewayStatus())
        await eventually(lambda: gateway.report.series[0] in registry.aggregate())
        history.sample(registry.aggregate())

    await told(4)
    assert [row["recent"] for row in console_data(registry, history).guards] == [0.0]
    await told(3)
    data = console_data(registry, history)
    assert data.guards == [{**of, "action": "reject", "rows": 7.0, "recent": 3.0}]
    assert data.window_s == 5.0
