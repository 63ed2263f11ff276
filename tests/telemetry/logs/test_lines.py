"""Lines as they are written: their form, what is escaped, and what libraries' records become."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import warnings
from typing import Any

import orjson
import pytest

from serving.telemetry.logs.events import Event
from serving.telemetry.logs.lines import JsonLines, TextLines, encoded
from serving.telemetry.logs.report import FIELDS, report

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
