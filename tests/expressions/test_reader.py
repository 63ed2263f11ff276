"""What is a condition and what is none, which is told in a sentence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.expressions.conditions import condition
from serving.expressions.operands import ColumnKind
from serving.expressions.reader import Reader
from serving.expressions.tokens import ExpressionError

KINDS: dict[str, ColumnKind] = {
    "age": "numbers", "income": "numbers", "purpose": "text", "wanted": "text",
}  # fmt: skip


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
        ("age + 1", "after what is calculated one of"),
        ("not age", "after column 'age' one of"),
        ("age or income > 1", "after column 'age' one of"),
        ("age > 1 and 3", "after the number 3 one of"),
        (
            "age > purpose",
            "column 'age' holds numbers: compare it with one, or a column of",
        ),
        (
            "purpose = age",
            "column 'purpose' holds text: compare it with one in quotes, or a",
        ),
        ("age > (income > 1)", "column 'age' holds numbers"),
        ("age + purpose > 1", "'+' is of numbers, and column 'purpose' holds none"),
        ("-'x' = purpose", "'-' is of numbers, and the text 'x' holds none"),
        ("1 < 2", "a column is expected beside the number 2"),
        ("'a' = 'b'", "a column is expected beside the text 'b'"),
        ("3 in [3]", "a column is expected beside the number 3"),
        ("3 is missing", "a column is expected beside the number 3"),
        ("age / (2 - 2) > 1", "it divides by zero"),
        ("age in [income]", "a list in brackets holds numbers or texts in quotes only"),
        ("0 < age < 1", "'<' is not expected there"),
        ("age + ", "a column is expected, and it ends there"),
        ("age > " + "1 + " * 101 + "1", "more than 100 signs"),
        ("__import__('os') > 1", "there is no column '__import__'"),
        ("not " * 30 + "age > 1", "within each other"),
    ],
)
def test_what_cannot_be_read_is_told_in_a_sentence(text, says):
    with pytest.raises(ExpressionError) as raised:
        Reader(text, KINDS)
    assert says in str(raised.value)
    assert str(raised.value).startswith(f"'{text}'")


WORDS = st.sampled_from([*KINDS, "`mean radius`", "1", "0.5", "'car'", "[", "]", "(", ")", ",",
                         "+", "-", "*", "/", "<", "<=", "=", "!=", "and", "or", "not", "in", "is",
                         "missing", "true"])  # fmt: skip


@given(st.one_of(st.text(max_size=40), st.lists(WORDS, max_size=12).map(" ".join)))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read = condition(text, KINDS)
    except ExpressionError:
        return
    columns = {name: np.zeros(4) for name in KINDS}
    columns |= {"purpose": np.array([b"a", None, b"", "b"], object), "wanted": np.array(["a"] * 4)}
    found = read.of(columns)
    assert found.true.shape == found.known.shape == (4,)
