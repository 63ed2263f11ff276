"""A role's link to the control plane from a thread of its own."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from serving.channel.messages.directory import Member
from serving.channel.messages.reports import ReplicaStatus, Report
from serving.control.registry import Registry
from serving.roles.reporter import ReporterThread

Wait = Callable[[Callable[[], object]], Awaitable[None]]
ME = Member("replica", "r", 1, "unix:/r", "m", "1")


async def test_it_reports_while_the_role_computes(
    registry: Registry, address: str, eventually: Wait
) -> None:
    busy_since = time.monotonic()
    reporter = ReporterThread(
        address, None, ME, lambda: Report(True, (), ReplicaStatus(time.monotonic() - busy_since))
    )
    reporter.start()
    await eventually(lambda: registry.states() and registry.states()[0].busy_s > 0)
    (before,) = registry.states()
    reporter.stop()
    await eventually(lambda: not registry.states())
    assert before.member == ME


async def test_its_last_report_counts(registry: Registry, address: str, eventually: Wait) -> None:
    said: list[float] = []

    def report() -> Report:
        said.append(float(len(said)))
        return Report(True, (), ReplicaStatus(said[-1]))

    heard: list[float] = []
    reporter = ReporterThread(address, None, ME, report)
    reporter.start()
    await eventually(lambda: registry.states() and registry.states()[0].ready)
    reported = registry.members.reported

    def note(connection: object, encoded: object) -> Member | None:
        member = reported(connection, encoded)  # type: ignore[arg-type]
        heard.append(registry.states()[0].busy_s)
        return member

    registry.members.reported = note  # type: ignore[method-assign,assignment]
    reporter.stop()
    await eventually(lambda: not registry.states())
    assert heard[-1] == said[-1]


@pytest.mark.parametrize("begun", [False, True])
def test_without_a_hub_it_ends_when_it_is_told(
    tmp_path: Path, begun: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_begin, has_begun = threading.Event(), threading.Event()
    run = ReporterThread._run

    async def late(reporter: ReporterThread) -> None:
        may_begin.wait(60)
        asyncio.get_running_loop().call_later(0.01, has_begun.set)
        await run(reporter)

    monkeypatch.setattr(ReporterThread, "_run", late)
    reporter = ReporterThread(
        f"unix:{tmp_path}/nobody", None, ME, lambda: Report(True, (), ReplicaStatus())
    )
    reporter.start()
    if begun:
        may_begin.set()
        has_begun.wait(60)
    reporter.stop(0.0)
    may_begin.set()
    reporter._thread.join(60)
    assert not reporter._thread.is_alive()
