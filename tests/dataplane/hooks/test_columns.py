"""Rows of chosen requests: from where each begins in the batch, in the order that is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from serving.dataplane.hooks.columns import inputs_of, outputs_of

Make = Callable[..., Any]


def block(rows: int, first: float) -> np.ndarray:
    return np.arange(first, first + 2 * rows, dtype=np.float32).reshape(rows, 2)


@pytest.fixture
def three(make_request: Make, make_done: Make) -> Any:
    """A batch of three requests of 2, 1 and 3 rows; the second of them has no outputs."""
    requests = [
        make_request("a", block(2, 0), row=0, output_row=0),
        make_request("b", block(1, 100), row=2, output_row=-1),
        make_request("c", block(3, 200), row=3, output_row=2),
    ]
    return make_done(*requests), requests


def test_outputs_stand_where_the_requests_with_outputs_have_them(three: Any) -> None:
    done, (a, _, c) = three
    assert outputs_of(done, [a])["y"].tolist() == (2 * block(2, 0)).tolist()
    assert outputs_of(done, [c])["y"].tolist() == (2 * block(3, 200)).tolist()


def test_inputs_stand_where_all_requests_have_them(three: Any) -> None:
    done, (a, b, c) = three
    assert inputs_of(done, [b])["x"].tolist() == [[100, 101]]
    assert inputs_of(done, [c])["x"].tolist() == block(3, 200).tolist()
    assert inputs_of(done, [a, b, c])["x"].tolist() == done.inputs()["x"].tolist()


def test_the_order_is_that_of_the_requests(three: Any) -> None:
    done, (a, _, c) = three
    wanted = np.concatenate([block(3, 200), block(2, 0)])
    assert inputs_of(done, [c, a])["x"].tolist() == wanted.tolist()
    assert outputs_of(done, [c, a])["y"].tolist() == (2 * wanted).tolist()


def test_it_is_a_copy(three: Any) -> None:
    done, requests = three
    taken = inputs_of(done, requests)["x"]
    assert not np.shares_memory(taken, done.inputs()["x"])
    assert not np.shares_memory(outputs_of(done, requests[:1])["y"], done.outputs["y"])
