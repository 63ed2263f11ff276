"""A cause is looked for in a process of its own, which is bounded, and never left behind."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from serving.channel.messages.causes import Cause, CauseMeta
from serving.errors import NotFound
from serving.log.place import LogPlace
from serving.monitoring.causes.job import CauseJob
from serving.monitoring.causes.runner import CauseRunner
from serving.roles.served_entry import served_entry

ASKED = CauseMeta("m", "accuracy", "", 7.0)


@pytest.fixture
def process(scripted_python):
    """Lets a shell script look for the cause; returns the processes that were started."""
    return scripted_python


@pytest.fixture
def entry(served):
    return served_entry(served)


@pytest.fixture
def runner(tmp_path):
    return CauseRunner(LogPlace("/log", tmp_path), timeout_s=20)


async def test_the_process_gets_the_job_and_its_answer_is_the_cause(
    runner, process, entry, tmp_path
):
    told = Cause(summary="concept shift", known=True, features={"age": 0.5})
    (tmp_path / "answer").write_bytes(msgspec.json.encode(told))
    process(f"cat > {tmp_path}/job; cat {tmp_path}/answer")
    assert await runner.find(ASKED, [entry]) == told
    job = msgspec.json.decode((tmp_path / "job").read_bytes(), type=CauseJob)
    assert (job.asked, job.place) == (ASKED, LogPlace("/log", tmp_path))
    [read] = job.entries()
    assert (read.name, read.version, read.config) == ("m", entry.version, entry.config)


async def test_one_that_takes_too_long_is_ended_and_says_so(tmp_path, process, entry):
    process("exec sleep 1000")
    found = await CauseRunner(LogPlace("/log", tmp_path), timeout_s=0.2).find(ASKED, [entry])
    assert not found.known
    assert "more than 0.2 s" in found.summary


async def test_one_that_dies_says_so(runner, process, entry):
    process("kill -9 $$")
    found = await runner.find(ASKED, [entry])
    assert found.summary.endswith("ended with -9")


async def test_one_at_a_time_is_looked_for(runner, process, entry, tmp_path):
    script = f"cat > /dev/null; mkdir {tmp_path}/turn && rmdir {tmp_path}/turn && echo '{{}}'"
    started = process(script.replace("'{}'", '\'{"summary": "x"}\''))
    found = await asyncio.gather(*(runner.find(ASKED, [entry]) for _ in range(3)))
    assert [each.summary for each in found] == ["x"] * 3
    assert len(started) == 3


async def test_who_leaves_ends_it(runner, process, entry, eventually):
    started = process("exec sleep 1000")
    task = asyncio.create_task(runner.find(ASKED, [entry]))
    await eventually(lambda: started)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert started[0].returncode is not None


async def test_without_a_log_it_says_why_not(process, entry):
    started = process("exit 1")
    found = await CauseRunner(None).find(ASKED, [entry])
    assert "`log: null`" in found.summary
    assert not started


async def test_of_a_model_that_is_not_here_there_is_none(runner):
    with pytest.raises(NotFound, match="'m' is not watched here"):
        await runner.find(ASKED, [])
