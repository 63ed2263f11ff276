"""Whoever keeps the books may fail, and costs nobody an answer."""

from __future__ import annotations

import pytest

from serving.dataplane.batching.telling import Telling


def test_the_books_are_told_and_their_failure_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    told: list[tuple[int, str]] = []
    telling = Telling("m", "1")
    telling.tell(lambda rows, reason: told.append((rows, reason)), 3, "deadline")
    assert told == [(3, "deadline")]
    assert not caplog.records
    telling.tell(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    assert "a metric or an event was not recorded" in caplog.text
