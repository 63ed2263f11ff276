"""Children are started again with growing pauses, and stopped for good when told to."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from serving.engines import children
from serving.engines.children import NOT_STARTED, ForkedChild, Keeper, ZygoteClient, spawn


async def eventually(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - the condition is in other objects' state
            await asyncio.sleep(0.005)


class FakeChild:
    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def wait(self) -> int:
        return await self.ended


class Family:
    """A keeper of fake children; signals are written down and obeyed as told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.children: list[FakeChild] = []
        self.exits: list[tuple[str, int]] = []
        self.signals: list[tuple[int, int]] = []
        self.obeys = {signal.SIGTERM, signal.SIGKILL}
        self.errors: list[Exception] = []
        self.keeper = Keeper("child", self._start, lambda *exit_: self.exits.append(exit_))
        monkeypatch.setattr(children.os, "kill", self._kill)

    async def _start(self) -> FakeChild:
        if self.errors:
            raise self.errors.pop()
        self.children.append(FakeChild(100 + len(self.children)))
        return self.children[-1]

    def _kill(self, pid: int, number: int) -> None:
        self.signals.append((pid, number))
        if number in self.obeys:
            self.children[pid - 100].ended.set_result(-number)


@pytest.fixture
async def family(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Family]:
    monkeypatch.setattr(children, "FIRST_PAUSE_S", 0.005)
    family = Family(monkeypatch)
    yield family
    if family.keeper._task:
        family.keeper._task.cancel()
        await asyncio.wait([family.keeper._task])


async def test_a_child_that_ends_is_started_again(family: Family) -> None:
    family.keeper.run()
    for number in range(3):
        await eventually(lambda number=number: len(family.children) == number + 1)
        family.children[-1].ended.set_result(number)
    await eventually(lambda: len(family.children) == 4)
    assert family.exits == [("child", 0), ("child", 1), ("child", 2)]


async def test_pauses_grow_to_a_bound_and_begin_anew_after_steady_work(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        if seconds:
            pauses.append(seconds)
        await real(0)

    monkeypatch.setattr(children.asyncio, "sleep", sleep)
    monkeypatch.setattr(children, "FIRST_PAUSE_S", 1.0)
    monkeypatch.setattr(children, "LONGEST_PAUSE_S", 5.0)
    family.keeper.run()

    async def end() -> None:
        while not family.children or family.children[-1].ended.done():
            await real(0)
        count = len(family.children)
        family.children[-1].ended.set_result(1)
        while len(family.children) == count:
            await real(0)

    for _ in range(4):
        await end()
    assert pauses == [2.0, 4.0, 5.0, 5.0]
    monkeypatch.setattr(children, "STEADY_S", -1.0)  # every run counts as steady from now on
    await end()
    assert pauses[-1] == 1.0


async def test_a_child_that_cannot_start_is_tried_again(family: Family, caplog: Any) -> None:
    family.errors = [OSError("no memory"), ConnectionError("no zygote")]
    family.keeper.run()
    await eventually(lambda: family.children)
    assert family.exits == [("child", NOT_STARTED)] * 2
    assert "child cannot be started: no memory" in caplog.text
    assert family.keeper.child is family.children[0]


async def test_stop_terminates_and_does_not_restart(family: Family) -> None:
    family.keeper.run()
    await eventually(lambda: family.keeper.child)
    await family.keeper.stop(5)
    assert family.signals == [(100, signal.SIGTERM)]
    assert family.exits == []
    assert family.keeper.child is None
    assert len(family.children) == 1


async def test_stop_kills_what_does_not_obey(family: Family) -> None:
    family.obeys = {signal.SIGKILL}
    family.keeper.run()
    await eventually(lambda: family.keeper.child)
    await family.keeper.stop(0.02)
    assert family.signals == [(100, signal.SIGTERM), (100, signal.SIGKILL)]


async def test_stop_during_a_pause_and_before_a_start(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    await family.keeper.stop(1)  # never ran
    family.keeper.stopping = False
    monkeypatch.setattr(children, "FIRST_PAUSE_S", 3600.0)
    monkeypatch.setattr(children, "LONGEST_PAUSE_S", 3600.0)
    family.keeper.run()
    await eventually(lambda: family.children)
    family.children[0].ended.set_result(1)
    await eventually(lambda: family.exits)
    async with asyncio.timeout(60):
        await family.keeper.stop(600)
    assert family.keeper._task is not None
    assert family.keeper._task.done()


async def test_a_spawned_program_has_its_own_session_and_its_code_is_told() -> None:
    child = await spawn([sys.executable, "-c", "import time; print(1); time.sleep(60)"])
    try:
        assert os.getsid(child.pid) == child.pid
    finally:
        os.kill(child.pid, signal.SIGKILL)
    assert await child.wait() == -signal.SIGKILL
    quick = await spawn([sys.executable, "-c", "raise SystemExit(3)"])
    assert await quick.wait() == 3


def forked() -> int:
    """Start a child that nobody but this test waits for, as is true of what the zygote makes.

    asyncio would wait for it in a thread of its own, and one of two who wait learns nothing.
    """
    sleeps = [sys.executable, "-c", "import time; time.sleep(60)"]
    return os.posix_spawn(sys.executable, sleeps, os.environ)


@pytest.fixture
async def zygote() -> AsyncIterator[tuple[ZygoteClient, asyncio.StreamWriter]]:
    """A client whose zygote is this test: it writes what a zygote would say."""
    client = ZygoteClient()
    client._reader = asyncio.StreamReader()
    client._listener = asyncio.create_task(client._listen())
    yield client, client._reader  # type: ignore[misc]
    client._listener.cancel()
    await asyncio.wait([client._listener])


async def test_the_end_of_the_zygote_ends_what_waits_for_it(zygote: Any) -> None:
    client, says = zygote
    starting: asyncio.Future[ForkedChild] = asyncio.get_running_loop().create_future()
    client._starting["later"] = starting
    client._starting["a"] = first = asyncio.get_running_loop().create_future()
    pid = forked()
    says.feed_data(b'{"op": "ready"}\n{"op": "forked", "id": "a", "pid": %d}\n' % pid)
    child = await first
    says.feed_eof()
    with pytest.raises(ConnectionError):
        await starting
    assert client.lost.done()
    assert client.ready
    assert not child.ended.done()  # it lives on
    os.kill(pid, signal.SIGKILL)
    assert await child.wait() == -signal.SIGKILL


async def test_a_fork_that_fails_is_told_and_others_go_on(zygote: Any) -> None:
    client, says = zygote
    client._starting["a"] = first = asyncio.get_running_loop().create_future()
    says.feed_data(b'{"op": "failed", "id": "a", "errno": 12}\n')
    with pytest.raises(OSError, match="Cannot allocate memory"):
        await first
    assert not client.lost.done()


async def test_a_fork_that_nobody_waits_for_any_more_is_killed(zygote: Any) -> None:
    client, says = zygote
    pid = forked()
    ordered: asyncio.Future[ForkedChild] = asyncio.get_running_loop().create_future()
    client._starting["stray"] = ordered
    ordered.cancel()
    says.feed_data(b'{"op": "forked", "id": "stray", "pid": %d}\n' % pid)
    await eventually(lambda: not Path(f"/proc/{pid}").exists())  # killed and waited for
    client._starting["next"] = later = asyncio.get_running_loop().create_future()
    says.feed_data(b'{"op": "forked", "id": "next", "pid": 4194999}\n')  # it listens on
    assert (await later).pid == 4194999


def open_files() -> set[Path]:
    return set(Path("/proc/self/fd").iterdir())


async def test_a_zygote_that_cannot_be_started_leaves_no_socket_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError("no more processes")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", refuse)
    before = open_files()
    with pytest.raises(BlockingIOError) as told:  # keeps everything that the call had
        await ZygoteClient().start()
    assert open_files() == before
    assert told.value.args == ("no more processes",)


PARENT = """
import asyncio, os, sys
from serving.engines.children import spawn

async def main():
    child = await spawn(sys.argv[1:])
    print(child.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_child_ends_with_its_parent() -> None:
    sleeps = [sys.executable, "-c", "import time; time.sleep(60)"]
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, *sleeps, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    async with asyncio.timeout(60):
        child = int(await parent.stdout.readline())
        while not _command(child).endswith(b"time.sleep(60)\0"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        parent.kill()
        await parent.wait()
        while _runs(child):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await parent.communicate()  # to the end, which the child had open: else it stays open


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def _runs(pid: int) -> bool:
    try:  # whoever inherits it may not have reaped it yet
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


HOOKED = """
import asyncio, os, sys
from serving.engines.children import spawn

os.register_at_fork(after_in_child=lambda: os._exit(9))

async def main():
    return await (await spawn([sys.executable, "-c", "raise SystemExit(3)"])).wait()

raise SystemExit(asyncio.run(main()))
"""


async def test_nothing_of_this_process_runs_in_a_child() -> None:
    # Fork handlers of gRPC abort now and then in a copy of a process that has lost its threads.
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", HOOKED)
    async with asyncio.timeout(60):
        assert await process.wait() == 3


async def test_what_cannot_be_executed_ends_as_in_a_shell(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    child = await spawn([str(tmp_path / "nothing")])
    assert await child.wait() == NOT_STARTED
    assert capfd.readouterr().err == f"{tmp_path}/nothing: No such file or directory\n"
