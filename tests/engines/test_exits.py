"""How children ended, in words and in the log."""

from __future__ import annotations

from typing import Any

import pytest

from serving.engines.exits import how_ended, tell_exit, tell_hung


@pytest.mark.parametrize(
    ("code", "said"), [(0, "exit code 0"), (3, "exit code 3"), (-9, "signal 9")]
)
def test_a_negative_code_is_a_signal(code: int, said: str) -> None:
    assert how_ended(code) == said


def test_an_end_is_logged_with_what_follows(caplog: Any) -> None:
    tell_exit("replica-m-1-0", -11, "m", "1", "it is started again in 2 s")
    assert "replica-m-1-0 ended with signal 11; it is started again in 2 s" in caplog.text


def test_a_hang_is_logged_with_how_long_it_took(caplog: Any) -> None:
    tell_hung("replica-m-1-0", "m", "1", 30.25)
    assert "replica-m-1-0 has computed one batch for too long and is replaced" in caplog.text
