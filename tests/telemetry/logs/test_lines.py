"""Lines as they are written: their form, what is escaped, and what libraries' records become."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import threading
import warnings
from typing import Any

import orjson
import pytest

from serving.telemetry.logs.events import Event
from serving.telemetry.logs.lines import JsonLines, TextLines, encoded
from serving.telemetry.logs.rate_limit import RateLimit
from serving.telemetry.logs.report import FIELDS, Reporter, report, use

SECRET = "4711.25"


def test_a_line_says_when_what_where_and_about_whom(log: Any) -> None:
    report(
        Event.MODEL_FAILED, "it failed", model="m", version="3", request_id="r-1", cause=None, n=2
    )
    (line,) = log.lines
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line == {
        "level": "error",
        "logger": "vigil",
        "event": "model_failed",
        "message": "it failed",
        "model": "m",
        "version": "3",
        "request_id": "r-1",
        "n": 2,
        "role": "gateway",
        "pid": os.getpid(),
    }


def test_an_exception_leaves_its_type_and_frames_and_no_text(log: Any) -> None:
    try:
        raise ValueError(f"bad {SECRET}")
    except ValueError as error:
        report(Event.GUARD_FAILED, "a guard failed", error=error, guard="g")
    (line,) = log.lines
    assert line["error"] == "ValueError"
    assert line["location"].startswith("test_lines.py:")
    assert "Traceback" in line["exception"]
    assert SECRET not in log.text


HOSTILE = ["a\nb", "a\r\nlevel=error", "\x1b[31mred", "\0", "a\u2028b", '"}', "é" * 9]


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_names_and_ids_cannot_break_a_line(log: Any, text: str) -> None:
    report(Event.REQUEST_FAILED, f"of {text}", model=text, request_id=text, path=text)
    assert log.text.count("\n") == 1
    (line,) = log.lines
    assert set(line) >= {"message", "model", "request_id", "path"}
    assert "\x1b" not in log.text
    if text.isprintable():
        assert line["model"] == text


def test_text_that_is_no_unicode_makes_a_line_too() -> None:
    # Not through `log`: pytest keeps what is logged, and cannot send this to another process.
    line = encoded({"model": "\udcff", "n": 1 << 80})
    assert line.isascii()
    assert orjson.loads(line)["model"] == "\\udcff"


def test_lines_for_people_cannot_be_broken_either() -> None:
    record = logging.LogRecord("vigil", logging.ERROR, "f.py", 1, "of a\nb\x1b", (), None)
    setattr(record, FIELDS, {"event": "request_failed", "model": "a\nb", "status": 500})
    line = TextLines("gateway").format(record)
    assert "\n" not in line
    assert "\x1b" not in line
    assert "gateway ERROR request_failed: of a\\nb" in line
    assert "model=a\\nb status=500" in line


def test_long_texts_are_cut(log: Any) -> None:
    report(Event.REQUEST_FAILED, "x" * 10_000, model="m" * 10_000, path="p" * 10_000)
    assert len(log.text) < 7000


def test_values_that_are_no_json_become_text() -> None:
    assert orjson.loads(encoded({"a": 1 << 80, "b": object, "c": "\udc80", "d": 1.5}))["d"] == 1.5


# -- what others log --------------------------------------------------------------------


def test_a_librarys_record_has_the_same_form(log: Any) -> None:
    logging.getLogger("some.library").warning("cannot reach %s", "there")
    (line,) = log.lines
    assert line["event"] == "library_log"
    assert line["logger"] == "some.library"
    assert line["level"] == "warning"
    assert line["message"] == "cannot reach there"
    assert line["role"] == "gateway"


def test_a_librarys_exception_leaves_no_text(log: Any) -> None:
    try:
        raise ValueError(SECRET)
    except ValueError:
        logging.getLogger("some.library").exception("it failed")
    (line,) = log.lines
    assert line["error"] == "ValueError"
    assert "test_lines.py" in line["exception"]
    assert SECRET not in log.text


def test_wrong_arguments_cost_no_line() -> None:
    record = logging.LogRecord("x", logging.INFO, "f.py", 1, "%d rows", ("none",), None)
    line = orjson.loads(JsonLines("gateway").format(record))
    assert line["message"].startswith("%d rows")


async def test_a_task_that_nobody_awaited_tells_no_value(log: Any) -> None:
    async def fail() -> None:
        raise ValueError(SECRET)

    task = asyncio.get_running_loop().create_task(fail())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    del task
    (line,) = [line for line in log.lines if line["logger"] == "asyncio"]
    assert line["message"] == "Task exception was never retrieved"
    assert line["error"] == "ValueError"
    assert SECRET not in log.text


async def test_a_callback_that_raises_tells_no_argument(log: Any) -> None:
    def fail(row: str) -> None:
        raise ValueError(row)

    asyncio.get_running_loop().call_soon(fail, SECRET)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    (line,) = [line for line in log.lines if line["logger"] == "asyncio"]
    assert line["message"].startswith("Exception in callback")
    assert SECRET not in log.text


@pytest.mark.parametrize("end", [": {}\n", ":\n\n{}\n\n"], ids=["own", "of-a-library"])
def test_a_warning_tells_its_kind_and_place_and_no_text(
    log: Any, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    def form(text: Any, kind: type, name: str, line: int, source: str | None = None) -> str:
        return f"{name}:{line}: {kind.__name__}" + end.format(text)

    monkeypatch.setattr(warnings, "formatwarning", form)
    logging.captureWarnings(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            logging.captureWarnings(False)
            logging.captureWarnings(True)
            warnings.warn(f"odd value {SECRET}", RuntimeWarning, stacklevel=1)
    finally:
        logging.captureWarnings(False)
    (line,) = log.lines
    assert line["event"] == "library_warning"
    assert line["error"] == "RuntimeWarning"
    assert "test_lines.py" in line["location"]
    assert SECRET not in log.text


# -- how often --------------------------------------------------------------------------


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


def test_a_library_is_limited_too_and_its_exceptions_are_let_go(log: Any) -> None:
    def once() -> None:
        try:
            raise ValueError(SECRET)
        except ValueError:
            logging.getLogger("some.library").exception("it failed")

    for _ in range(10):
        once()
    assert len(log.lines) == 2
    log.reporter.flush(everything=True)
    assert log.lines[-1]["suppressed"] == 7
    assert log.lines[-1]["error"] == "ValueError"
    assert SECRET not in log.text


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


def test_the_form_of_a_role_is_in_every_line() -> None:
    record = logging.LogRecord("x", logging.INFO, "f.py", 1, "hello", (), None)
    assert orjson.loads(JsonLines("monitor").format(record))["role"] == "monitor"


def test_what_a_model_logs_is_known_by_the_model_of_its_process() -> None:
    lines = JsonLines("replica", "iris", "3")
    record = logging.LogRecord("own", logging.INFO, "net.py", 7, "it is warm", (), None)
    line = orjson.loads(lines.format(record))
    assert (line["event"], line["model"], line["version"]) == ("library_log", "iris", "3")
    setattr(record, FIELDS, {"event": "model_failed", "model": "other"})
    assert orjson.loads(lines.format(record))["model"] == "other"
