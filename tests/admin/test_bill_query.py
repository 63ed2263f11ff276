"""What may be asked of `/bill`; anything else is refused with the parameter's name."""

from __future__ import annotations

import pytest

from serving.admin.bill_query import read_period
from serving.errors import InvalidInput

NOW = 1_000_000.0


@pytest.mark.parametrize(
    ("asked", "since", "model"),
    [
        ([], NOW - 86400, ""),
        ([("last", "60")], NOW - 60, ""),
        ([("last", "0")], NOW, ""),
        ([("last", "1e300"), ("model", "m")], 0.0, "m"),
        ([("since", "5.5"), ("model", "a b")], 5.5, "a b"),
    ],
)
def test_periods(asked: list[tuple[str, str]], since: float, model: str) -> None:
    assert read_period(asked, NOW) == (since, model)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ([("lst", "60")], "'lst'"),
        ([("last", "60"), ("last", "60")], "'last'.*once"),
        ([("last", "60"), ("since", "5")], "give one of them"),
        ([("last", "24h")], "'last' is '24h'; give seconds"),
        ([("last", "-1")], "'last' is '-1'"),
        ([("last", "nan")], "'last' is 'nan'"),
        ([("last", "inf")], "'last' is 'inf'"),
        ([("last", "")], "'last' is ''"),
        ([("since", "yesterday")], "'since' is 'yesterday'"),
        ([("since", "1000001")], "'since' is in the future"),
        ([("\x1b", "")], r"'\\x1b'"),
    ],
)
def test_what_is_none(asked: list[tuple[str, str]], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        read_period(asked, NOW)
