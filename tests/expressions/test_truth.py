"""Kleene's logic, over every combination of three truth values."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from serving.expressions.truth import Judge, Truth, both, either, opposite

VALUES = (True, False, None)
ROWS = list(product(VALUES, repeat=3))


def judge_of(at: int) -> Judge:
    values = [row[at] for row in ROWS]
    true = np.array([value is True for value in values])
    return lambda _: Truth(true, np.array([value is not None for value in values]))


def said(judge: Judge) -> list[bool | None]:
    return [bool(true) if known else None for true, known in zip(*judge({}), strict=True)]


@pytest.mark.parametrize("sides", [1, 2, 3])
def test_or_and_and_are_known_where_one_side_decides(sides: int) -> None:
    judges = [judge_of(at) for at in range(sides)]
    seen = [row[:sides] for row in ROWS]
    assert said(either(judges)) == [
        True if True in row else None if None in row else False for row in seen
    ]
    assert said(both(judges)) == [
        False if False in row else None if None in row else True for row in seen
    ]


def test_not_of_the_unknown_is_unknown() -> None:
    assert said(opposite(judge_of(0))) == [None if row[0] is None else not row[0] for row in ROWS]


def test_what_is_not_known_is_never_true() -> None:
    for judge in (either([judge_of(0), judge_of(1)]), both([judge_of(0), judge_of(1)])):
        for truth in (judge({}), opposite(judge)({})):
            assert not (truth.true & ~truth.known).any()
