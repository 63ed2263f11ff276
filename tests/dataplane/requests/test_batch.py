"""Joining and splitting are each other's inverse, whatever the rows."""

from __future__ import annotations

from typing import Any
from unittest.mock import sentinel

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.dataplane.requests.batch import Batch, join, split
from serving.dataplane.requests.bound import Bound
from serving.dataplane.requests.pending import Pending


def pending(*arrays: np.ndarray, ident: str = "i") -> Pending:
    key = tuple(array.shape[1:] for array in arrays)
    return Pending(ident, Bound(arrays, len(arrays[0]), key, (), None), sentinel.future, 0.0)


rows = st.lists(st.integers(1, 5), min_size=1, max_size=8)


@given(rows, st.integers(0, 2**32))
def test_split_undoes_join(counts: list[int], seed: int) -> None:
    generator = np.random.default_rng(seed)
    items = [
        pending(
            generator.normal(size=(n, 3)).astype(np.float32),
            generator.integers(0, 9, (n,)),
        )
        for n in counts
    ]
    batch = Batch(("a", "b"), items, 0.0)
    assert batch.rows == tuple(counts)
    assert batch.total == sum(counts)
    parts = split(batch.inputs(), batch.rows)
    assert len(parts) == len(items)
    for part, item in zip(parts, items, strict=True):
        for got, sent in zip(part.values(), item.bound.arrays, strict=True):
            np.testing.assert_array_equal(got, sent)


@given(rows, st.data())
def test_without_keeps_the_others_in_order(counts: list[int], data: st.DataObject) -> None:
    items = [pending(np.full((n, 1), index), ident=str(index)) for index, n in enumerate(counts)]
    batch = Batch(("x",), items, 0.0)
    drop = data.draw(st.sets(st.integers(0, len(counts) - 1)))
    kept = batch.without(sorted(drop))
    assert [item.id for item in kept.items] == [
        str(index) for index in range(len(counts)) if index not in drop
    ]
    if kept.items:
        expected = [i for i, n in enumerate(counts) for _ in range(n) if i not in drop]
        assert kept.arrays[0].ravel().tolist() == expected
    assert batch.items == items


def test_one_request_is_not_copied() -> None:
    array = np.zeros((2, 2))
    (joined,) = join([pending(array)])
    assert joined is array


def test_parts_are_views_of_the_whole() -> None:
    whole = np.arange(6).reshape(3, 2)
    parts = split({"y": whole}, (1, 2))
    assert all(np.shares_memory(part["y"], whole) for part in parts)


@pytest.mark.parametrize("datatype", [object, np.uint16, np.bool_])
def test_datatypes_survive_the_join(datatype: Any) -> None:
    items = [pending(np.zeros((1, 1), datatype)), pending(np.ones((2, 1), datatype))]
    assert join(items)[0].dtype == datatype
