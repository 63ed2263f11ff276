"""Severities of a log switched on and off."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Callable, Iterator

import pytest

from serving.telemetry.logs.switch import LogSettings, LogSwitch

Written = Callable[[LogSettings], list[str]]


@pytest.fixture
def written() -> Iterator[Written]:
    """Applies settings, logs one record of each severity, and returns the lines."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    logger = logging.getLogger("vigil_switch_test")
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(logging.INFO)
    switch = LogSwitch([handler], logger.name)

    def log(settings: LogSettings) -> list[str]:
        switch.apply(settings)
        text.truncate(0)
        text.seek(0)
        for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
            logger.log(level, "%s", logging.getLevelName(level))
        return text.getvalue().splitlines()

    yield log
    logger.removeHandler(handler)


def severities(lines: list[str]) -> list[str]:
    return [line.split()[-1] for line in lines]


def test_each_severity_can_be_silenced_and_comes_back(written: Written) -> None:
    assert severities(written(LogSettings())) == ["INFO", "WARNING", "ERROR"]
    assert severities(written(LogSettings(log_info=False))) == ["WARNING", "ERROR"]
    assert severities(written(LogSettings(log_warning=False))) == ["INFO", "ERROR"]
    assert severities(written(LogSettings(log_error=False))) == ["INFO", "WARNING"]
    assert severities(written(LogSettings())) == ["INFO", "WARNING", "ERROR"]


def test_details_are_written_when_asked_for(written: Written) -> None:
    assert severities(written(LogSettings(log_verbose_level=1)))[0] == "DEBUG"
    assert severities(written(LogSettings())) == ["INFO", "WARNING", "ERROR"]


def test_times_are_iso_8601_when_asked_for(written: Written) -> None:
    pattern = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ vigil"
    assert re.match(pattern, written(LogSettings(log_format="ISO8601"))[0])
    assert not re.match(pattern, written(LogSettings())[0])
