"""Conditions on columns, against the same thing said in Python."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.expressions.conditions import condition
from serving.expressions.tokens import ExpressionError

KINDS = {"age": "numbers", "income": "numbers", "purpose": "text", "mean radius": "numbers",
         "x[0]": "numbers", "x.a": "numbers"}  # fmt: skip


def texts(*values: object) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


COLUMNS = {
    "age": np.array([20.0, 61.0, np.nan, 60.0]),
    "income": np.array([1, 0, 5, -2], np.int32),
    "purpose": texts(b"car", "home", None, b""),
    "mean radius": np.array([1.0, 2.0, 3.0, 4.0], np.float32),
    "x[0]": np.array([0.0, 1.0, np.inf, -np.inf]),
    "x.a": np.zeros(4),
}
U = None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("age > 60", [False, True, U, False]),
        ("age >= 60 and income < 0", [False, False, False, True]),
        ("age > 60 or income = 5", [False, True, True, False]),
        ("not age > 60", [True, False, U, True]),
        ("age is missing", [False, False, True, False]),
        ("age is not missing and age < 30", [True, False, False, False]),
        ("purpose in ['car', 'home']", [True, True, U, U]),
        ("purpose not in ['car']", [False, True, U, U]),
        ("purpose = 'car' or purpose is missing", [True, False, True, True]),
        ("`mean radius` <= 2", [True, True, False, False]),
        ("x[0] > 1e3", [False, False, True, False]),
        ("x.a = false", [True, True, True, True]),
        ("income in [-2, 5]", [False, False, True, True]),
        ("age > 60 and (income = 0 or income = 1)", [False, True, False, False]),
        ("NOT (age > 60 AND income > 0)", [True, True, U, True]),
    ],
)
def test_it_says_what_it_says_and_missing_values_are_unknown(text, expected):
    found = condition(text, KINDS).of(COLUMNS)
    said = [
        bool(t) if known else None
        for t, known in zip(found.true, found.known, strict=True)
    ]  # fmt: skip
    assert said == expected
    assert not (found.true & ~found.known).any()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("agee > 60", "there is no column 'agee'; there are 'age', 'income'"),
        ("age >", "column 'age' holds numbers: compare it with one"),
        ("age > 'x'", "column 'age' holds numbers"),
        ("purpose > 'car'", "column 'purpose' holds text, which has no order"),
        ("purpose = 3", "column 'purpose' holds text: compare it with one in quotes"),
        ("(age > 1", "a parenthesis is not closed"),
        ("age in 3", "a list in brackets is expected"),
        ("age in [3", "a bracket is not closed"),
        ("age > 1 income < 2", "'income' is not expected there"),
        ("", "a column is expected, and it ends there"),
        ("age ; drop", "what begins with '; drop' is not understood"),
        ("age", "after column 'age' one of"),
        ("__import__('os') > 1", "there is no column '__import__'"),
        ("not " * 30 + "age > 1", "within each other"),
    ],
)
def test_what_cannot_be_read_is_told_in_a_sentence(text, says):
    with pytest.raises(ExpressionError) as raised:
        condition(text, KINDS)
    assert says in str(raised.value)
    assert str(raised.value).startswith(f"'{text}'")


def test_it_says_which_columns_it_looks_at():
    read = condition("age > 60 or purpose is missing", KINDS)
    assert read.columns == {"age", "purpose"}


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read = condition(text, KINDS)
    except ExpressionError:
        return
    found = read.of(COLUMNS)
    assert found.true.shape == found.known.shape == (4,)


@given(st.lists(st.one_of(st.none(), st.floats(-5, 5)), min_size=1, max_size=20))
def test_and_or_and_not_keep_to_de_morgan(values: list[float | None]) -> None:
    columns = {"age": np.array([np.nan if v is None else v for v in values]),
               "income": np.arange(len(values))}  # fmt: skip
    one = condition("not (age > 0 and income > 2)", KINDS).of(columns)
    other = condition("not age > 0 or not income > 2", KINDS).of(columns)
    np.testing.assert_array_equal(one.true, other.true)
    np.testing.assert_array_equal(one.known, other.known)
