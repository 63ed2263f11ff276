"""When reports are made, and what becomes of those that cannot be; time and makers are ours."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from serving.channel.messages.observation import ReportReply
from serving.config.reports import Reports
from serving.errors import ModelNotReady, Overloaded
from serving.monitoring.reports.kept import KeptReports
from serving.monitoring.reports.schedule import ReportSchedule

NOON = 1_796_040_000.0
HOUR = 3600.0


class Runner:
    """Makes a page at once, unless it is told what to raise for a kind."""

    def __init__(self, *, logged=True):
        self.logged = logged
        self.raises = {}
        self.asked = []

    async def report(self, entry, asked, recent):
        self.asked.append(asked)
        if asked.kind in self.raises:
            raise self.raises[asked.kind]
        return ReportReply("text/html", b"page")


@dataclass
class Subject:
    entry: object

    def recent(self):
        return {}


@pytest.fixture
def subject(entry):
    wanted = Reports(kinds=["drift", "quality"], every_s=HOUR, last_s=600, keep=2)
    return Subject(replace(entry, config=entry.config.model_copy(update={"reports": wanted})))


@pytest.fixture
def now():
    return [NOON]


@pytest.fixture
def make(tmp_path, subject, now):
    def schedule(runner):
        kept = KeptReports(tmp_path / "reports")
        return ReportSchedule(runner, kept, lambda: iter([subject]), lambda: now[0])

    return schedule


def scheduled(schedule, subject, kind):
    [found] = [x for x in schedule.told(subject.entry)["scheduled"] if x["report"] == kind]
    return found


def kept(schedule, subject):
    return [(x["report"], x["time"][11:16]) for x in schedule.told(subject.entry)["kept"]]


async def test_reports_are_made_when_they_are_due_and_the_newest_kept(make, subject, now):
    runner = Runner()
    schedule = make(runner)
    await schedule.step()
    assert kept(schedule, subject) == []
    for _ in range(3):
        now[0] += HOUR
        await schedule.step()
        await schedule.step()
    assert kept(schedule, subject) == [
        ("drift", "15:00"), ("quality", "15:00"), ("drift", "14:00"), ("quality", "14:00"),
    ]  # fmt: skip
    assert [(each.kind, each.since) for each in runner.asked[:2]] == [
        ("drift", NOON + HOUR - 600), ("quality", NOON + HOUR - 600),
    ]  # fmt: skip


async def test_without_a_log_reports_of_columns_are_of_recent_rows(make, now):
    runner = Runner(logged=False)
    schedule = make(runner)
    await schedule.step()
    now[0] += HOUR
    await schedule.step()
    assert [each.since for each in runner.asked] == [None, None]


async def test_one_that_fails_is_told_and_the_others_are_made(make, subject, now, caplog):
    runner = Runner()
    runner.raises["drift"] = ModelNotReady("there are no rows")
    schedule = make(runner)
    await schedule.step()
    now[0] += HOUR
    await schedule.step()
    assert kept(schedule, subject) == [("quality", "13:00")]
    found = scheduled(schedule, subject, "drift")
    assert found["failure"] == {"time": "2026-11-30T13:00:00+00:00", "why": "there are no rows"}
    assert scheduled(schedule, subject, "quality")["failure"] is None
    assert "there are no rows" in caplog.text
    runner.raises.clear()
    now[0] += HOUR
    await schedule.step()
    assert scheduled(schedule, subject, "drift")["failure"] is None


async def test_a_fault_of_ours_does_not_end_the_schedule(make, subject, now):
    runner = Runner()
    runner.raises["drift"] = ZeroDivisionError("row 5 is 'secret'")
    schedule = make(runner)
    await schedule.step()
    now[0] += HOUR
    await schedule.step()
    why = scheduled(schedule, subject, "drift")["failure"]["why"]
    assert why == "an internal error: ZeroDivisionError"
    assert kept(schedule, subject) == [("quality", "13:00")]


async def test_while_another_is_made_it_waits(make, subject, now):
    runner = Runner()
    schedule = make(runner)
    await schedule.step()
    now[0] += HOUR
    runner.raises["drift"] = Overloaded("another report is being made")
    await schedule.step()
    runner.raises.clear()
    now[0] += 10
    await schedule.step()
    assert kept(schedule, subject) == [("drift", "13:00"), ("quality", "13:00")]
    assert [each.kind for each in runner.asked] == ["drift", "quality", "drift"]


async def test_a_restart_goes_on_from_the_plan(make, subject, now):
    before = make(Runner())
    await before.step()
    now[0] += HOUR - 60
    after = make(Runner())
    await after.step()
    assert kept(after, subject) == []
    now[0] += 60
    await after.step()
    assert [kind for kind, _ in kept(after, subject)] == ["drift", "quality"]


async def test_what_cannot_be_written_is_a_failure_that_is_told(make, subject, now, tmp_path):
    schedule = make(Runner())
    await schedule.step()
    folder = tmp_path / "reports" / subject.entry.name
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    folder.write_text("no folder")
    now[0] += HOUR
    await schedule.step()
    assert "cannot be written" in scheduled(schedule, subject, "drift")["failure"]["why"]


def impossible(schedule, subject):
    return {x["report"]: x["impossible_because"] for x in schedule.told(subject.entry)["reports"]}


def test_what_a_model_cannot_have_is_told_with_the_reason(make, subject):
    (subject.entry.directory / "reference.parquet").unlink()
    found = impossible(make(Runner()), subject)
    assert "has no reference.parquet" in found["drift"]
    assert (found["quality"], found["performance"]) == (None, None)
    without_log = impossible(make(Runner(logged=False)), subject)
    assert without_log["quality"] is None
    assert "nothing is logged" in without_log["performance"]
