from datetime import UTC, datetime, timedelta

import pytest

from serving.errors import InvalidInput
from serving.protocol.moments import moment, span, window

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("15m", 900), ("15min", 900), ("1h", 3600), ("1.5 H", 5400), ("7d", 604_800),
     ("2w", 1_209_600), ("0s", 0)],
)  # fmt: skip
def test_spans(text, seconds):
    assert span(text, "--last") == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "1", "h", "-1h", "1y", "1h30m", "1e9d", "\u0661h", "1h\n\n1h"]
)
def test_what_is_no_span(text):
    with pytest.raises(InvalidInput, match=r"^--last '.*' is no span of time; write 90s"):
        span(text, "--last")


def test_the_longest_span_is_a_time_still():
    assert NOON - span("999999999w", "--last") < NOON


@pytest.mark.parametrize(
    ("text", "found"),
    [("2026-11-30", datetime(2026, 11, 30, tzinfo=UTC)), ("2026-11-30T12:00", NOON),
     ("2026-11-30T12:00:00Z", NOON), ("2026-11-30 14:00:00+02:00", NOON)],
)  # fmt: skip
def test_moments(text, found):
    assert moment(text, "--since") == found


@pytest.mark.parametrize("text", ["", "today", "2026-13-01", "0001-01-01T00:00:00+05:00"])
def test_what_is_no_moment(text):
    with pytest.raises(InvalidInput, match=r"^--until '.*' is no time; write 2026-01-31"):
        moment(text, "--until")


def test_windows():
    assert window(None, None, None, NOON) == (None, None)
    assert window("1h", None, None, NOON) == (NOON - timedelta(hours=1), None)
    assert window(None, "2026-11-30T12:00Z", None, NOON) == (NOON, None)
    assert window(None, None, "2026-11-30T12:00Z", NOON) == (None, NOON)


@pytest.mark.parametrize(
    ("last", "since", "until", "says"),
    [
        ("1h", "2026-11-30", None, "--last counts back"),
        ("1h", None, "2026-11-30", "--last counts back"),
        (None, "2026-11-30", "2026-11-30", "is not before --until"),
        (None, "2026-12-01", "2026-11-30", "swap them"),
    ],
)
def test_windows_that_contradict_themselves(last, since, until, says):
    with pytest.raises(InvalidInput, match=says):
        window(last, since, until, NOON)
