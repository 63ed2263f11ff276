"""Numbers in their precision, and what is calculated from them, against Python's."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serving.expressions.conditions import condition
from serving.expressions.operands import ColumnKind

KINDS: dict[str, ColumnKind] = {"age": "numbers", "income": "numbers"}


def test_a_value_that_is_the_constant_is_equal_to_it_in_every_precision() -> None:
    for kind in (np.float16, np.float32, np.float64):
        columns = {"age": np.array([0.1, 0.7], kind)}
        found = condition("age <= 0.1 or age in [0.7] or age = 0.7", KINDS).of(columns)
        assert found.true.tolist() == [True, True], kind


NUMBERS = st.one_of(st.none(), st.floats(-5, 5), st.just(0.0))


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=20))
def test_arithmetic_is_that_of_python(pairs: list[tuple[float | None, float | None]]) -> None:
    gaps = [[np.nan if value is None else value for value in pair] for pair in pairs]
    columns = dict(zip(("age", "income"), np.array(gaps, np.float64).T, strict=True))
    found = condition("(age - 2) * income / 4 + 1 <= age / income - 0.5", KINDS).of(columns)
    for at, (age, income) in enumerate(pairs):
        expected: bool | None = None
        if age is not None and income:
            quotient = age / income
            if np.isfinite(quotient):
                expected = (age - 2) * income / 4 + 1 <= quotient - 0.5
        assert (bool(found.true[at]) if found.known[at] else None) == expected
