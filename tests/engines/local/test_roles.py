"""How the end of a replica's process is told: as its own work's, or as anybody's."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest

from serving.config import Log
from serving.config.log import LOG_VARIABLE
from serving.engines.local.memory_kills import MemoryKills
from serving.engines.local.roles import LocalRoles


@pytest.fixture
def roles(tmp_path: Path) -> LocalRoles:
    return LocalRoles("unix:/nowhere", tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("code", "how", "by_itself"),
    [
        (3, "ended with exit code 3", True),
        (0, "ended with exit code 0", True),
        (-signal.SIGSEGV, "ended with signal 11", True),
        (-signal.SIGABRT, "ended with signal 6", True),
        (-signal.SIGKILL, "ended with signal 9", False),
        (-signal.SIGTERM, "ended with signal 15", False),
    ],
)
def test_a_signal_that_anybody_may_send_is_no_evidence(
    roles: LocalRoles, code: int, how: str, by_itself: bool
) -> None:
    ended = roles._end_of("r", code)
    assert (ended.id, ended.how, ended.by_itself) == ("r", how, by_itself)


def test_a_kill_for_lack_of_memory_is_the_models_own_work(
    roles: LocalRoles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryKills, "lately", lambda _self: True)
    ended = roles._end_of("r", -signal.SIGKILL)
    assert (ended.how, ended.by_itself) == ("was ended for lack of memory", True)


def test_a_replica_that_is_replaced_because_it_hangs_is_told_once(roles: LocalRoles) -> None:
    roles._hung.add("r")
    assert roles._end_of("r", -signal.SIGKILL).how == "took too long and was replaced"
    assert roles._end_of("r", -signal.SIGKILL).how == "ended with signal 9"


@pytest.mark.parametrize("log", [None, Log(url="s3://user:secret@bucket/log")])
async def test_each_monitor_is_told_its_id_and_how_to_log_where_nobody_else_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: Log | None
) -> None:
    started: list[tuple[list[str], dict[str, str]]] = []
    seen = asyncio.Event()

    async def spawn(argv: list[str], env: dict[str, str]) -> Any:
        started.append((argv, env))
        seen.set()
        await asyncio.Event().wait()

    monkeypatch.setattr("serving.engines.local.roles.spawn", spawn)
    monkeypatch.delenv(LOG_VARIABLE, raising=False)
    roles = LocalRoles("unix:/nowhere", tmp_path, tmp_path, log)
    roles.start_monitors(("monitor-0", "monitor-1"))
    while len(started) < 2:
        seen.clear()
        await seen.wait()
    for at, (argv, env) in enumerate(started):
        assert argv[-2:] == ["--id", f"monitor-{at}"]
        assert f"unix:{tmp_path}/monitor-{at}.sock" in argv
        assert "secret" not in " ".join(argv)
        told = env.get(LOG_VARIABLE)
        assert (Log.model_validate_json(told) if told else None) == log
    await roles.stop()
