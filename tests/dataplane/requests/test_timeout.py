"""The parameter `timeout` beside a transport's deadline."""

from __future__ import annotations

from typing import Any

import pytest

from serving.dataplane.requests.timeout import shorter
from serving.errors import InvalidInput


@pytest.mark.parametrize(
    ("timeout_s", "microseconds", "left"),
    [
        (None, 1_500_000, 1.5),
        (None, 0, None),  # the protocol's "no timeout"
        (2.0, 0, 2.0),
        (2.0, 1_500_000, 1.5),
        (2.0, 2_500_000, 2.0),
        (-1.0, 10, -1.0),  # over already
    ],
)
def test_the_earlier_one_counts(
    timeout_s: float | None, microseconds: int, left: float | None
) -> None:
    assert shorter(timeout_s, microseconds) == left


@pytest.mark.parametrize("wrong", [-1, True, False, "1", 1.5, None, [1]])
def test_anything_but_a_whole_number_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidInput, match="parameter timeout must be a whole number of micro"):
        shorter(None, wrong)
