"""What a process logs goes to its standard error, in the form and from the level it was told."""

from __future__ import annotations

import atexit
import io
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report
from serving.telemetry.logs.setup import (
    FORMAT,
    LEVEL,
    QUIET,
    StderrHandler,
    adopt,
    configure,
    writes_json,
)

SECRET = "4711.25"


class Stream(io.StringIO):
    """Standard error; `terminal` says whether a person reads it."""

    terminal = False

    def isatty(self) -> bool:
        return self.terminal

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in self.getvalue().splitlines()]


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch) -> Stream:
    """The process's standard error; no variable tells the process how to log."""
    stream = Stream()
    monkeypatch.setattr(sys, "__stderr__", stream)
    for name in (FORMAT, LEVEL):
        monkeypatch.delenv(name, raising=False)
    return stream


@pytest.fixture
def library() -> Iterator[logging.Logger]:
    """A logger of a library; afterwards as if nobody had used it."""
    logger = logging.getLogger("vigil_setup_test")
    yield logger
    logger.handlers.clear()
    logger.propagate = True


def ours() -> list[logging.Handler]:
    return [each for each in logging.getLogger().handlers if isinstance(each, StderrHandler)]


# -- form -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "told", "terminal", "json"),
    [
        (None, None, False, True),
        (None, None, True, False),
        ("auto", None, False, True),
        ("auto", None, True, False),
        ("auto", "json", True, False),
        ("json", "text", True, True),
        ("text", "json", False, False),
        (None, "json", True, True),
        (None, "text", False, False),
        (None, "YAML", True, False),
        (None, "YAML", False, True),
    ],
)
def test_the_form_is_as_told_or_as_the_reader_needs_it(
    stderr: Stream, monkeypatch: pytest.MonkeyPatch, form: Any, told: Any, terminal: Any, json: Any
) -> None:
    stderr.terminal = terminal
    if told:
        monkeypatch.setenv(FORMAT, told)
    configure("gateway", form)
    report(Event.SERVER_READY, "ready")
    assert writes_json() is json
    assert stderr.getvalue().startswith("{") is json
    assert os.environ[FORMAT] == ("json" if json else "text")


def test_who_has_no_standard_error_logs_in_json(
    stderr: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "__stderr__", None)
    monkeypatch.setattr(sys, "stderr", stderr)
    stderr.terminal = True
    configure("gateway")
    report(Event.SERVER_READY, "ready")
    assert stderr.lines[0]["event"] == "server_ready"


def test_lines_go_past_whoever_replaced_sys_stderr(
    stderr: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Stream()
    monkeypatch.setattr(sys, "stderr", other)
    configure("gateway")
    report(Event.SERVER_READY, "ready")
    assert len(stderr.lines) == 1
    assert other.getvalue() == ""


def test_lines_say_what_the_process_is(stderr: Stream) -> None:
    configure("replica", "json", model="iris", version="3")
    report(Event.SERVER_READY, "ready")
    line = stderr.lines[0]
    assert (line["role"], line["model"], line["version"]) == ("replica", "iris", "3")


# -- level ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "told", "number", "root", "quiet"),
    [
        (None, None, logging.INFO, logging.INFO, logging.WARNING),
        ("debug", None, logging.DEBUG, logging.INFO, logging.WARNING),
        ("warning", "debug", logging.WARNING, logging.WARNING, logging.WARNING),
        ("error", None, logging.ERROR, logging.ERROR, logging.ERROR),
        (None, "error", logging.ERROR, logging.ERROR, logging.ERROR),
        (None, "", logging.INFO, logging.INFO, logging.WARNING),
        (None, "ERROR", logging.INFO, logging.INFO, logging.WARNING),
        (None, "notset", logging.INFO, logging.INFO, logging.WARNING),
    ],
)
def test_levels_of_our_own_of_libraries_and_of_talkative_ones(
    stderr: Stream,
    monkeypatch: pytest.MonkeyPatch,
    level: Any,
    told: str | None,
    number: int,
    root: int,
    quiet: int,
) -> None:
    if told is not None:
        monkeypatch.setenv(LEVEL, told)
    configure("gateway", level=level)
    assert logging.getLogger("vigil").level == number
    assert logging.getLogger().level == root
    assert {logging.getLogger(name).level for name in QUIET} == {quiet}
    assert os.environ[LEVEL] == logging.getLevelName(number).lower()


# -- handlers ---------------------------------------------------------------------------


def test_called_again_it_replaces_what_it_did(
    stderr: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure("gateway", "json")
    monkeypatch.setattr(sys, "__stderr__", other := Stream())
    configure("monitor", "json")
    report(Event.SERVER_READY, "ready")
    assert stderr.lines == []
    assert [line["role"] for line in other.lines] == ["monitor"]


def plain_handlers() -> list[logging.Handler]:
    streams = {id(each): each for each in (sys.stderr, sys.stdout, sys.__stderr__, sys.__stdout__)}
    return [logging.StreamHandler(each) for each in streams.values()]


def other_handlers() -> list[logging.Handler]:
    return [logging.StreamHandler(io.StringIO()), logging.NullHandler()]


def test_others_that_write_to_the_terminal_leave_and_those_of_a_host_stay(stderr: Stream) -> None:
    root = logging.getLogger()
    plain, other = plain_handlers(), other_handlers()
    for each in (*plain, *other):
        root.addHandler(each)
    try:
        configure("gateway")
        assert not set(plain) & set(root.handlers)
        assert set(other) <= set(root.handlers)
        assert len(ours()) == 1
    finally:
        for each in (*plain, *other):
            root.removeHandler(each)


def test_an_adopted_library_writes_through_us_alone(
    stderr: Stream, library: logging.Logger
) -> None:
    plain, other = plain_handlers(), other_handlers()
    for each in (*plain, *other):
        library.addHandler(each)
    library.propagate = False
    configure("gateway", "json")
    adopt("vigil_setup_other", library.name)
    library.warning("it is odd")
    assert library.handlers == other
    (line,) = stderr.lines
    assert (line["logger"], line["event"]) == (library.name, "library_log")


def test_a_process_that_set_nothing_up_does_not_write_json(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", other_handlers())
    assert not writes_json()


# -- how often libraries may ------------------------------------------------------------


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


@pytest.mark.parametrize("other", ["level", "line", "logger", "error"])
def test_what_tells_causes_of_libraries_apart(
    log: Any, library: logging.Logger, other: str
) -> None:
    def once(name: str, level: int, line: int, error: Exception | None) -> None:
        raised = (type(error), error, None) if error else None
        record = logging.LogRecord(name, level, "net.py", line, "text", (), raised)
        logging.getLogger(name).handle(record)

    given: dict[str, Any] = {
        "name": library.name, "level": logging.WARNING, "line": 1, "error": KeyError()
    }  # fmt: skip
    odd = {
        "level": {"level": logging.ERROR},
        "line": {"line": 2},
        "logger": {"name": f"{library.name}.part"},
        "error": {"error": OSError()},
    }
    for _ in range(3):
        once(**given)
    assert len(log.lines) == 2
    once(**{**given, **odd[other]})
    assert len(log.lines) == 3


def test_a_library_is_one_cause_whatever_its_text_says(log: Any, library: logging.Logger) -> None:
    for number in range(3):
        library.warning("row %d %s", number, "of a client")
    log.reporter.flush(everything=True)
    assert [line["message"] for line in log.lines] == [f"row {n} of a client" for n in range(3)]
    assert "suppressed" not in log.lines[2]


def test_a_late_line_says_when_it_happened(log: Any, library: logging.Logger) -> None:
    def once(created: float) -> None:
        record = logging.LogRecord(library.name, logging.WARNING, "f.py", 1, "x", (), None)
        record.created, record.msecs = created, created % 1 * 1000
        library.handle(record)

    for second in range(3):
        once(second + 0.25)
    log.reporter.flush(everything=True)
    assert log.lines[-1]["time"] == "1970-01-01T00:00:02.250Z"


# -- what nobody catches ----------------------------------------------------------------


def crash(make: Callable[[], BaseException]) -> Any:
    try:
        raise make()
    except BaseException as error:
        return SimpleNamespace(
            exc_type=type(error), exc_value=error, exc_traceback=error.__traceback__
        )


def test_an_error_that_ends_the_process_is_one_line_without_its_text(stderr: Stream) -> None:
    configure("gateway", "json")
    raised = crash(lambda: ValueError(SECRET))
    sys.excepthook(raised.exc_type, raised.exc_value, raised.exc_traceback)
    (line,) = stderr.lines
    assert (line["event"], line["level"]) == ("process_crashed", "critical")
    assert (line["error"], SECRET in stderr.getvalue()) == ("ValueError", False)


def test_an_interrupt_is_python_s_own_matter(
    stderr: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed: list[Any] = []
    monkeypatch.setattr(sys, "__excepthook__", lambda *given: passed.append(given))
    configure("gateway", "json")
    raised = crash(KeyboardInterrupt)
    sys.excepthook(raised.exc_type, raised.exc_value, raised.exc_traceback)
    assert passed == [(raised.exc_type, raised.exc_value, raised.exc_traceback)]
    assert stderr.getvalue() == ""


def test_an_error_that_ends_a_thread_names_the_thread(stderr: Stream) -> None:
    configure("gateway", "json")

    def fail() -> None:
        raise ValueError(SECRET)

    thread = threading.Thread(target=fail, name="own")
    thread.start()
    thread.join()
    (line,) = stderr.lines
    assert (line["event"], line["thread"], line["error"]) == ("thread_crashed", "own", "ValueError")
    assert SECRET not in stderr.getvalue()


def test_a_thread_that_is_gone_has_no_name(stderr: Stream) -> None:
    configure("gateway", "json")
    raised = crash(lambda: ValueError(SECRET))
    raised.thread = None
    threading.excepthook(raised)
    assert stderr.lines[0]["thread"] == ""


@pytest.mark.parametrize("kind", [SystemExit, None])
def test_a_thread_that_ends_itself_is_no_news(stderr: Stream, kind: Any) -> None:
    configure("gateway", "json")
    raised = crash(SystemExit)
    raised.thread = None
    if kind is None:
        raised.exc_value = None
    threading.excepthook(raised)
    assert stderr.getvalue() == ""


def test_an_error_that_nobody_can_catch_is_told(stderr: Stream) -> None:
    configure("gateway", "json")

    class Odd:
        def __del__(self) -> None:
            raise ValueError(SECRET)

    odd = Odd()
    del odd
    (line,) = stderr.lines
    assert (line["event"], line["error"]) == ("thread_crashed", "ValueError")
    assert SECRET not in stderr.getvalue()
    sys.unraisablehook(SimpleNamespace(exc_value=None))  # type: ignore[arg-type]
    assert len(stderr.lines) == 1


def test_warnings_are_lines(stderr: Stream) -> None:
    logging.captureWarnings(False)
    configure("gateway", "json")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(SECRET, RuntimeWarning, stacklevel=1)
    assert stderr.lines[0]["event"] == "library_warning"


def test_the_last_lines_are_written_at_the_end(
    stderr: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_end: list[Callable[[], None]] = []
    monkeypatch.setattr(atexit, "register", at_end.append)
    configure("gateway", "json")
    for _ in range(9):
        report(Event.MODEL_FAILED, "it failed")
    before = len(stderr.lines)
    for end in at_end:
        end()
    assert len(stderr.lines) == before + 1
    assert sum(1 + line.get("suppressed", 0) for line in stderr.lines) == 9
