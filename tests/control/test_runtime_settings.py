"""Settings in Triton's words: inherited, cleared, and refused with a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from serving.channel.messages.settings import Settings, TraceSettings
from serving.control.runtime_settings import RuntimeSettings
from serving.errors import InvalidInput
from serving.telemetry.logs.switch import LogSettings


@pytest.fixture
def told() -> list[Settings]:
    return []


@pytest.fixture
def book(told: list[Settings]) -> RuntimeSettings:
    return RuntimeSettings(Path("/traces"), told.append)


def test_asking_changes_nothing_and_tells_nobody(
    book: RuntimeSettings, told: list[Settings]
) -> None:
    assert book.trace("", None)["trace_rate"] == "1000"
    assert book.trace("m", {})["trace_level"] == ["OFF"]
    assert book.logging(None) == {
        "log_file": "",
        "log_info": True,
        "log_warning": True,
        "log_error": True,
        "log_verbose_level": 0,
        "log_format": "default",
    }
    assert told == []


def test_a_model_takes_from_all_what_it_has_not_set(
    book: RuntimeSettings, told: list[Settings]
) -> None:
    book.trace("", {"trace_rate": 5, "trace_level": "TIMESTAMPS"})
    assert book.trace("m", {"trace_count": ["9"]}) == {
        "trace_level": ["TIMESTAMPS"],
        "trace_rate": "5",
        "trace_count": "9",
        "log_frequency": "0",
        "trace_file": "/traces/<gateway>.jsonl",
        "trace_mode": "triton",
    }
    assert told[-1].trace == TraceSettings(True, 5)
    assert told[-1].trace_of == {"m": TraceSettings(True, 5, 9)}
    book.trace("", {"trace_rate": None})
    assert book.trace("m", {"trace_count": None})["trace_rate"] == "1000"
    assert told[-1].trace_of == {}
    assert told[-1].number > told[0].number


@pytest.mark.parametrize(
    ("given", "level", "timestamps"),
    [
        ("TENSORS", ["TENSORS"], False),
        (["TENSORS", "TIMESTAMPS", "TENSORS"], ["TIMESTAMPS", "TENSORS"], True),
    ],
)
def test_tensors_are_a_level(
    book: RuntimeSettings, told: list[Settings], given: Any, level: list[str], timestamps: bool
) -> None:
    assert book.trace("m", {"trace_level": given, "trace_mode": "triton"})["trace_level"] == level
    assert told[-1].trace_of == {"m": TraceSettings(timestamps, tensors=True)}


@pytest.mark.parametrize("mode", [None, "triton", ["triton"], []])
def test_the_one_mode_may_be_set_and_changes_nothing(
    book: RuntimeSettings, told: list[Settings], mode: Any
) -> None:
    assert book.trace("", {"trace_mode": mode})["trace_mode"] == "triton"
    assert told == []


def test_log_settings_are_set_and_cleared(book: RuntimeSettings, told: list[Settings]) -> None:
    book.logging({"log_info": False, "log_verbose_level": 2, "log_format": "ISO8601"})
    assert told[-1].log == LogSettings(False, True, True, 2, "ISO8601")
    book.logging({"log_info": None, "log_verbose_level": None, "log_format": None})
    assert told[-1].log == LogSettings()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"trace_file": "x"}, "cannot be changed"),
        ({"trace_mode": "opentelemetry"}, "OpenTelemetry are not offered"),
        ({"trace_mode": ["opentelemetry"]}, "must be triton"),
        ({"trace_level": ["OFF", "TENSORS"]}, "OFF alone"),
        ({"trace_level": ["MAX"]}, "TIMESTAMPS, TENSORS or both"),
        ({"trace_level": [["TENSORS"]]}, "TIMESTAMPS, TENSORS or both"),
        ({"trace_rate": 0}, "from 1"),
        ({"trace_rate": "many"}, "whole number"),
        ({"trace_rate": "9" * 30}, "whole number"),
        ({"trace_count": -2}, "from -1"),
        ({"trace_count": True}, "whole number"),
        ({"log_frequency": [1, 2]}, "whole number"),
        ({"speed": 1}, "unknown trace setting 'speed'"),
        ({"speed": None}, "unknown trace setting 'speed'"),
    ],
)
def test_wrong_trace_settings(
    book: RuntimeSettings, told: list[Settings], changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidInput, match=words):
        book.trace("", {"trace_level": "TIMESTAMPS", **changes})
    assert told == []
    assert book.trace("", None)["trace_level"] == ["OFF"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"log_file": "x"}, "cannot be changed"),
        ({"log_info": 1}, "true or false"),
        ({"log_verbose_level": -1}, "whole number"),
        ({"log_verbose_level": True}, "whole number"),
        ({"log_format": "json"}, "ISO8601"),
        ({"log_color": True}, "unknown log setting"),
    ],
)
def test_wrong_log_settings(book: RuntimeSettings, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        book.logging(changes)


def test_a_book_that_takes_over_tells_the_same(book: RuntimeSettings, told: list[Settings]) -> None:
    book.trace("", {"trace_rate": 5})
    book.trace("m", {"trace_count": "9"})
    book.logging({"log_info": False})
    successor = RuntimeSettings(Path("/traces"), told.append)
    successor.restore(book.chosen)
    assert told[-1] == told[-2]  # also the number, so traces are not counted anew
    assert successor.trace("m", None) == book.trace("m", None)
    assert successor.logging(None) == book.logging(None)
