"""Who may have a report made, and what becomes of the process; the process is a small script."""

from __future__ import annotations

import asyncio
import shutil
import tempfile

import numpy as np
import pytest

from serving.channel.messages.observation import ReportMeta
from serving.errors import (
    InvalidInput,
    ModelFailed,
    ModelNotReady,
    Overloaded,
    Unsupported,
    VigilError,
)
from serving.log.place import LogPlace
from serving.monitoring.reports import runner
from serving.monitoring.reports.job import NEVER, NOTHING, read_job, read_logged_job
from serving.monitoring.reports.runner import MIN_ROWS, ReportRunner
from serving.telemetry.logs.causes import Cause

FINE = 'printf "<html>" > "$3/report"'


@pytest.fixture
def reports():
    return ReportRunner()


@pytest.fixture
def process(scripted_python, monkeypatch, tmp_path):
    """Lets a shell script make the report: `$3` is its folder; returns what was started."""
    (tmp_path / "folders").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "folders"))
    yield scripted_python
    assert not list((tmp_path / "folders").iterdir())


@pytest.mark.parametrize(
    ("wanted", "content_type"), [("html", "text/html; charset=utf-8"), ("json", "application/json")]
)
async def test_what_the_process_writes_is_the_report(
    reports, process, entry, columns, wanted, content_type
):
    process(f"echo noise; read line && exit 5; echo warning >&2; {FINE}")
    reply = await reports.drift(entry, columns, wanted)
    assert (reply.content_type, reply.body) == (content_type, b"<html>")


async def test_the_process_gets_the_whole_job(reports, process, entry, columns, tmp_path):
    copy = tmp_path / "copy"
    process(f'[ "$1 $2" = "-m serving.monitoring.reports.drift" ] && cp -r "$3" {copy} && {FINE}')
    await reports.drift(entry, columns, "json")
    job, handed = read_job(copy)
    assert job.title == "loans version 1"
    assert job.config == entry.config.model_dump_json()
    assert job.reference == str(entry.directory / "reference.parquet")
    assert job.format == "json"
    assert list(handed) == list(columns)
    np.testing.assert_array_equal(handed["income"], columns["income"].astype(np.float64))


# -- who is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", ["pdf", "", "HTML", "html "])
async def test_a_format_that_nobody_writes(reports, entry, columns, wanted):
    (entry.directory / "reference.parquet").unlink()  # the first thing that is wrong is told
    with pytest.raises(InvalidInput) as told:
        await reports.drift(entry, columns, wanted)
    assert told.value.message == "format must be html or json"


async def test_without_a_reference_there_is_nothing_to_compare_with(reports, entry):
    (entry.directory / "reference.parquet").unlink()
    with pytest.raises(Unsupported) as told:
        await reports.drift(entry, {}, "html")
    assert told.value.message == (
        "model 'loans' has no reference.parquet beside its weights, with rows to compare with; "
        "`vigil profile loans --data FILE` leaves one"
    )


@pytest.mark.parametrize("rows", [None, 0, 5, MIN_ROWS - 1])
async def test_too_few_rows_are_worth_another_try(reports, entry, columns, rows):
    few = {} if rows is None else {name: values[:rows] for name, values in columns.items()}
    with pytest.raises(ModelNotReady) as told:
        await reports.drift(entry, few, "html")
    assert told.value.message == (
        f"model 'loans' has seen {rows or 0} rows lately, a report needs 30; "
        "send more requests first"
    )
    assert told.value.retry_after_s == 5


async def test_just_enough_rows_are_enough(reports, process, entry, columns):
    process(FINE)
    enough = {name: values[:MIN_ROWS] for name, values in columns.items()}
    assert (await reports.drift(entry, enough, "html")).body == b"<html>"


# -- how the process may end ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "message", "cause"),
    [
        ("echo warning >&2; echo 'no column' >&2; exit 1", "no column", None),
        ("printf '\\377 odd' >&2; exit 1", "\N{REPLACEMENT CHARACTER} odd", None),
        ("exit 1", "the report process ended with 1", None),
        ("printf ' \\n ' >&2; exit 1", "the report process ended with 1", None),
        ("echo 'Anna' >&2; exit 2", "Anna", Cause("report process")),
        ("exit 2", "the report process ended with 2", Cause("report process")),
        ("echo 'Traceback' >&2; exit 3", "the report process ended with 3", None),
        ("echo 'Killed' >&2; kill -9 $$", "the report process ended with -9", None),
    ],
)
async def test_a_process_that_fails(
    reports, process, entry, columns, caplog, script, message, cause
):
    process(f"{FINE}; {script}")
    with pytest.raises(ModelFailed) as told:
        await reports.drift(entry, columns, "html")
    assert (told.value.message, told.value.cause) == (message, cause)
    assert told.value.logged
    (record,) = caplog.records
    # What may quote a row is the client's alone.
    assert record.message == ("a drift report could not be made" if cause else message)
    assert record.vigil_fields["model"] == "loans"
    assert record.vigil_fields["version"] == "1"


async def test_a_process_that_takes_too_long_is_ended(
    reports, process, entry, columns, monkeypatch
):
    monkeypatch.setattr(runner, "TIMEOUT_S", 0.05)
    started = process("exec sleep 600")
    with pytest.raises(ModelFailed) as told:
        await reports.drift(entry, columns, "html")
    assert told.value.message == "the drift report took more than 0.05 s"
    assert [each.returncode for each in started] == [-9]


# -- one at a time --------------------------------------------------------------------------------


async def begun(reports, entry, columns, started, eventually):
    task = asyncio.create_task(reports.drift(entry, columns, "json"))
    await eventually(lambda: started)
    return task


async def test_one_at_a_time(reports, process, entry, columns, eventually):
    started = process("exec sleep 600")
    first = await begun(reports, entry, columns, started, eventually)
    with pytest.raises(Overloaded) as refused:
        await reports.drift(entry, columns, "json")
    assert refused.value.message == "another report is being made; retry later"
    assert refused.value.retry_after_s == 5
    with pytest.raises(InvalidInput):  # what will never work is told even now
        await reports.drift(entry, columns, "pdf")
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert [each.returncode for each in started] == [-9]


async def test_whoever_leaves_makes_room(reports, process, entry, columns, eventually):
    started = process("exec sleep 600")
    first = await begun(reports, entry, columns, started, eventually)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    process(FINE)
    assert (await reports.drift(entry, columns, "json")).body == b"<html>"


@pytest.mark.parametrize("script", ["exit 1", FINE])
async def test_the_end_of_one_makes_room(reports, process, entry, columns, script):
    process(script)
    try:
        await reports.drift(entry, columns, "html")
    except VigilError:
        assert script == "exit 1"
    process(FINE)
    assert (await reports.drift(entry, columns, "html")).body == b"<html>"


def asked(kind, since=None):
    return ReportMeta("loans", "1", kind, "html", since=since)


@pytest.fixture
def of_log(tmp_path):
    return ReportRunner(LogPlace(str(tmp_path / "log"), tmp_path / "spool"))


@pytest.mark.parametrize(("kind", "since"), [("performance", None), ("quality", 5.0)])
async def test_what_needs_a_log_says_so_without_one(reports, entry, columns, kind, since):
    with pytest.raises(Unsupported, match="nothing is logged"):
        await reports.report(entry, asked(kind, since), lambda: columns)


async def test_rows_of_a_time_come_from_the_log(of_log, process, entry, columns, tmp_path):
    copy = tmp_path / "copy"
    process(f'[ "$1 $2" = "-m serving.reports.process" ] && cp -r "$3" {copy} && {FINE}')
    for since, url in ((5.0, str(tmp_path / "log")), (None, "")):
        reply = await of_log.report(entry, asked("quality", since), lambda: columns)
        assert reply.body == b"<html>"
        job, handed = read_logged_job(copy)
        assert (job.kind, job.since, job.url) == ("quality", since, url)
        assert set(handed) == (set() if url else set(columns))
        shutil.rmtree(copy)


@pytest.mark.parametrize(("code", "error"), [(NOTHING, ModelNotReady), (NEVER, Unsupported)])
async def test_that_there_is_nothing_to_report_is_no_failure(
    of_log, process, entry, caplog, code, error
):
    process(f"echo 'no label is known' >&2; exit {code}")
    with pytest.raises(error, match="no label is known"):
        await of_log.report(entry, asked("performance"), dict)
    assert caplog.records == []
