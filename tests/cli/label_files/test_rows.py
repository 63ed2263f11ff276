from datetime import UTC, datetime
from typing import Any

import pytest

from serving.cli.label_files.rows import Form, Row, WrongValue, label_of


def row(**values: Any) -> Row:
    given = {"id": "a", "y_true": 1, "index": None, "timestamp": None, "sensitive_features": {}}
    return Row(7, 9, **given | values)


def test_a_row_names_its_place() -> None:
    assert row().place == "row 7 (line 9)"
    assert Row(7, None, "a", 1, None, None, {}).place == "row 7"


def test_what_a_row_does_not_say_is_left_out() -> None:
    said = row(timestamp="", sensitive_features={"sex": None, "age": ""})
    assert label_of(said, Form()) == {"id": "a", "y_true": 1}


@pytest.mark.parametrize(
    "given",
    ["2026-01-31T12:00:00Z", "2026-01-31T13:00:00+01:00", datetime(2026, 1, 31, 12, tzinfo=UTC)],
)
def test_a_time_keeps_its_moment(given: object) -> None:
    told = label_of(row(timestamp=given), Form())["timestamp"]
    assert datetime.fromisoformat(told) == datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("values", "column"),
    [
        ({"id": "\ud800"}, "id"),
        ({"id": b"a"}, "id"),
        ({"y_true": "\udfff"}, "truth"),
        ({"y_true": [1, float("nan")]}, "truth"),
        ({"y_true": [1, True]}, "truth"),
        ({"y_true": {"a": 1}}, "truth"),
        ({"y_true": 10**400}, "truth"),
        ({"index": float("nan")}, "index"),
        ({"index": float("inf")}, "index"),
        ({"timestamp": datetime(2026, 1, 31)}, "timestamp"),
        ({"sensitive_features": {"x": "\ud800"}}, "sensitive_features.x"),
    ],
)
def test_a_wrong_value_names_the_column_as_the_file_does(
    values: dict[str, Any], column: str
) -> None:
    with pytest.raises(WrongValue, match=f"^column '{column}' "):
        label_of(row(**values), Form(label_column="truth"))


def test_whole_numbers_that_json_cannot_hold_whole_are_near() -> None:
    assert label_of(row(y_true=2**63 - 1), Form())["y_true"] == 2**63 - 1
    assert label_of(row(y_true=2**80), Form())["y_true"] == float(2**80)
