"""Conditions on columns, against the same thing said in Python."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.expressions.conditions import condition

KINDS = {"age": "numbers", "income": "numbers", "purpose": "text", "mean radius": "numbers",
         "x[0]": "numbers", "x.a": "numbers", "wanted": "text",
         "small": "numbers", "half": "numbers"}  # fmt: skip


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
    "wanted": texts(b"car", b"car", b"car", b"car"),
    "small": np.array([200, 100, 0, 1], np.uint8),
    "half": np.array([0.1, 0.3, -0.0, 60000], np.float16),
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
        ("age > income", [True, True, U, True]),
        ("60 <= age", [False, True, U, True]),
        ("purpose = wanted", [True, False, U, U]),
        ("'home' != purpose", [True, False, U, U]),
        ("age >= income * 20 + 60", [False, True, U, True]),
        ("age + 1 - -1 = 22", [True, False, U, False]),
        ("income -1 = 0", [True, False, False, False]),
        ("-age < -60", [False, True, U, False]),
        ("(age - 20) / 2 > (20)", [False, True, U, False]),
        ("2 + 3 * 4 = income + 9", [False, False, True, False]),
        ("10 - 4 - 1 = income", [False, False, True, False]),
        ("age / income > 0", [True, U, U, False]),
        ("age / income is missing", [False, True, True, False]),
        ("x[0] - 1 < 0", [True, False, U, U]),
        ("age / income in [20, -30]", [True, U, U, True]),
        ("small + 100 > 255", [True, False, False, False]),
        ("half * 2 > 100000", [False, False, False, True]),
        ("half = 0.1 or half in [0.3]", [True, True, False, False]),
        ("((age > 60)) or (income) = 5", [False, True, True, False]),
        ("age > 60 or age < 60 or income < 0", [True, True, U, True]),
        ("age > 1 and income > 0 and small > 150", [True, False, False, False]),
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


def test_it_says_which_columns_it_looks_at():
    read = condition("age > 60 or purpose is missing", KINDS)
    assert read.columns == {"age", "purpose"}


def test_a_long_condition_is_judged_as_a_short_one_is() -> None:
    for word, expected in (("or", [True, True, U, True]), ("and", [False, False, U, False])):
        text = f" {word} ".join(["age > 60", "not age > 60"] * 2000)
        found = condition(text, KINDS).of(COLUMNS)
        assert [bool(t) if k else None for t, k in zip(*found, strict=True)] == expected


def test_no_row_gives_no_truth() -> None:
    none = {name: values[:0] for name, values in COLUMNS.items()}
    text = "purpose = wanted or purpose in ['a'] and age / income in [1] or age is missing"
    found = condition(text, KINDS).of(none)
    assert found.true.shape == found.known.shape == (0,)


@given(st.lists(st.one_of(st.none(), st.floats(-5, 5)), min_size=1, max_size=20))
def test_and_or_and_not_keep_to_de_morgan(values: list[float | None]) -> None:
    columns = {"age": np.array([np.nan if v is None else v for v in values]),
               "income": np.arange(len(values))}  # fmt: skip
    one = condition("not (age > 0 and income > 2)", KINDS).of(columns)
    other = condition("not age > 0 or not income > 2", KINDS).of(columns)
    np.testing.assert_array_equal(one.true, other.true)
    np.testing.assert_array_equal(one.known, other.known)
