"""One fact becomes one record: its level, what it holds, what is one cause, and who tells late."""

from __future__ import annotations

import logging
import os
import threading
from typing import Any

import pytest

from serving.telemetry.logs.causes import Cause
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.rate_limit import RateLimit
from serving.telemetry.logs.report import MOST_TEXT, Reporter, current, logger, report, use
from serving.telemetry.trace_context import SpanIds

SECRET = "4711.25"


class Host(logging.Handler):
    """An application's own handler of what Vigil logs."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def fail_often(times: int, model: str = "m") -> None:
    for number in range(times):
        report(Event.MODEL_FAILED, "it failed", model=model, request_id=f"r{number}")


def test_a_cause_is_limited_and_counted(log: Any) -> None:
    fail_often(10)
    assert [line["request_id"] for line in log.lines] == ["r0", "r1"]
    fail_often(1, "other")
    assert log.lines[-1]["model"] == "other"
    log.clock.now += 10
    fail_often(1)
    assert log.lines[-1]["suppressed"] == 8
    assert sum(1 + line.get("suppressed", 0) for line in log.lines) == 12


def test_what_was_kept_back_is_written_although_nothing_comes_any_more(log: Any) -> None:
    written = threading.Event()

    class Told(Reporter):
        def flush(self, *, everything: bool = False) -> None:
            super().flush(everything=everything)
            written.set()

    reporter = Told(RateLimit(burst=1, interval_s=0.05))
    before = use(reporter)
    try:
        fail_often(3)
        assert written.wait(60)
        assert log.lines[-1] | {"suppressed": 1, "request_id": "r2"} == log.lines[-1]
    finally:
        use(before)


def test_a_hosts_own_formatter_gets_frames_and_no_text() -> None:
    made: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            made.append(logging.Formatter("%(levelname)s %(message)s").format(record))

    handler = Kept()
    logging.getLogger("vigil").addHandler(handler)
    try:
        raise ValueError(SECRET)
    except ValueError as error:
        report(Event.INTERNAL_ERROR, "it failed", error=error)
    finally:
        logging.getLogger("vigil").removeHandler(handler)
    assert made[0].startswith("ERROR it failed\nTraceback")
    assert SECRET not in made[0]


def test_long_texts_are_cut(log: Any) -> None:
    report(Event.REQUEST_FAILED, "x" * 10_000, model="m" * 10_000, path="p" * 10_000)
    assert len(log.text) < 7000


def test_the_event_decides_the_level(log: Any) -> None:
    for event in (Event.SERVER_READY, Event.PROCESS_ENDED, Event.MODEL_FAILED, Event.START_REFUSED):
        report(event, "it is so")
    assert [line["level"] for line in log.lines] == ["info", "warning", "error", "critical"]


def test_what_the_level_leaves_out_counts_for_no_cause(log: Any) -> None:
    logger.setLevel(logging.ERROR)
    for _ in range(5):
        report(Event.PROCESS_ENDED, "it ended")
    assert log.lines == []
    assert not log.reporter.limit.pending
    logger.setLevel(logging.WARNING)
    report(Event.PROCESS_ENDED, "it ended")
    assert "suppressed" not in log.lines[0]


def test_the_record_is_known_by_whoever_reports(log: Any) -> None:
    host = Host()
    logger.addHandler(host)
    try:
        report(Event.MODEL_FAILED, "100 % of %s", n=1)
    finally:
        logger.removeHandler(host)
    (record,) = host.records
    assert (record.name, record.funcName) == (
        "vigil",
        "test_the_record_is_known_by_whoever_reports",
    )
    assert record.filename == "test_report.py"
    assert record.getMessage() == "100 % of %s"


def test_only_what_is_known_is_told(log: Any) -> None:
    report(Event.MODEL_FAILED, "it failed", model="", path="", n=0, text="", missing=None)
    assert {"model", "path", "version", "request_id", "error"}.isdisjoint(log.lines[0])
    assert [log.lines[0][name] for name in ("n", "text", "missing")] == [0, "", None]


def test_each_text_has_its_bound(log: Any) -> None:
    long = "x" * (MOST_TEXT + 1)
    names = ("model", "version", "request_id", "path", "fact")
    host = Host()
    logger.addHandler(host)
    try:
        report(Event.MODEL_FAILED, long, **dict.fromkeys(names, long))
    finally:
        logger.removeHandler(host)
    assert host.records[0].getMessage() == long[:MOST_TEXT]
    assert [log.lines[0][name] for name in names] == [long[:MOST_TEXT]] * 5


@pytest.mark.parametrize(
    ("cause", "told"),
    [
        (Cause("KeyError", "f.py:1:f", "trace"), ("KeyError", "f.py:1:f", "trace")),
        (Cause("report process"), ("report process", None, None)),
    ],
)
def test_a_described_cause_is_told_as_it_is(log: Any, cause: Cause, told: tuple[Any, ...]) -> None:
    report(Event.MODEL_FAILED, "it failed", cause=cause, error=ValueError(SECRET))
    (line,) = log.lines
    assert tuple(line.get(name) for name in ("error", "location", "exception")) == told


def often(first: dict[str, Any], then: dict[str, Any]) -> None:
    for given in (first, first, then):
        report(Event.MODEL_FAILED, "it failed", **given)


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ({"model": "a"}, {"model": "b"}),
        ({"version": "1"}, {"version": "2"}),
        ({"kind": "a"}, {"kind": "b"}),
        ({"guard": "a"}, {"guard": "b"}),
        ({"cause": Cause("A")}, {"cause": Cause("B")}),
        ({"cause": Cause("A", "f.py:1:f")}, {"cause": Cause("A", "f.py:2:f")}),
    ],
    ids=lambda given: ",".join(given),
)
def test_what_tells_causes_apart(log: Any, first: dict[str, Any], then: dict[str, Any]) -> None:
    often(first, then)
    assert len(log.lines) == 3


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ({"request_id": "a"}, {"request_id": "b"}),
        ({"path": "/a"}, {"path": "/b"}),
        ({"rows": 1}, {"rows": 2}),
        ({"cause": Cause("A", "f", "one")}, {"cause": Cause("A", "f", "other")}),
    ],
    ids=lambda given: ",".join(given),
)
def test_what_is_of_one_request_tells_no_causes_apart(
    log: Any, first: dict[str, Any], then: dict[str, Any]
) -> None:
    often(first, then)
    assert len(log.lines) == 2
    assert log.reporter.limit.pending


def test_other_events_and_places_are_other_causes(log: Any) -> None:
    for _ in range(2):
        report(Event.MODEL_FAILED, "it failed")
    report(Event.GUARD_FAILED, "it failed")
    report(Event.MODEL_FAILED, "it failed")
    assert len(log.lines) == 4


def test_kind_is_no_part_of_the_line(log: Any) -> None:
    report(Event.MODEL_FAILED, "it failed", kind="odd")
    assert "kind" not in log.lines[0]


def test_a_line_that_comes_too_often_is_not_made() -> None:
    made: list[int] = []

    def make() -> logging.LogRecord:
        made.append(1)
        return logging.LogRecord("vigil_none", logging.ERROR, "f.py", 1, "x", (), None)

    reporter = Reporter(RateLimit(burst=1, interval_s=1000))
    for _ in range(3):
        reporter.write(("cause",), make)
    assert len(made) == 1
    reporter.limit.due(everything=True)


def test_one_thread_waits_for_all_that_is_kept_back() -> None:
    def waiting() -> list[threading.Thread]:
        return [each for each in threading.enumerate() if each not in before]

    before = threading.enumerate()
    reporter = Reporter(RateLimit(burst=1, interval_s=1000))
    record = logging.LogRecord("vigil_none", logging.ERROR, "f.py", 1, "x", (), None)
    for number in range(3):
        reporter.write((number,), lambda: record)
    assert waiting() == []
    for number in range(3):
        reporter.write((number,), lambda: record)
    (timer,) = waiting()
    assert (timer.name, timer.daemon) == ("log-flush", True)
    assert isinstance(timer, threading.Timer)
    timer.cancel()
    timer.join()


def test_it_waits_again_while_something_is_kept_back(log: Any) -> None:
    written = threading.Event()
    lines_after: list[int] = []
    now = 0.0

    class Told(Reporter):
        def flush(self, *, everything: bool = False) -> None:
            nonlocal now
            now += 0.006  # too early the first time
            super().flush(everything=everything)
            lines_after.append(len(log.lines))
            if len(log.lines) == 2:
                written.set()

    before = use(Told(RateLimit(burst=1, interval_s=0.01, clock=lambda: now)))
    try:
        fail_often(2)
        assert written.wait(60)
    finally:
        use(before)
    assert lines_after == [1, 2]


def test_use_gives_back_what_was_there_before() -> None:
    mine = Reporter()
    before = current()
    assert use(mine) is before
    assert current() is mine
    assert use(before) is mine


def test_a_forked_process_tells_nothing_of_what_its_parent_kept_back(log: Any) -> None:
    fail_often(3)
    child = os.fork()
    if child == 0:
        kept = True
        try:
            kept = current() is log.reporter or current().limit.pending
        finally:
            os._exit(kept)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert log.reporter.limit.pending


def test_a_line_tells_the_trace_of_its_request(log: Any) -> None:
    trace, given = 0xABC, f"00-{0xDEF:032x}-{1:016x}-00".encode()
    for span in (SpanIds(trace, 7), None, SpanIds(trace, 8)):  # of one cause, so two are written
        report(Event.MODEL_FAILED, "it failed", span=span, traceparent=given)
    report(Event.REQUEST_FAILED, "it failed", traceparent=b"nonsense\r\n")
    first, second, third = log.lines
    assert (first["trace_id"], first["span_id"]) == (f"{trace:032x}", f"{7:016x}")
    assert second["trace_id"] == f"{0xDEF:032x}"
    assert "span_id" not in second  # that of the client is none of ours
    assert {"trace_id", "span_id"}.isdisjoint(third)
