import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal

from monitors.reference.profile import (
    CategoricalColumn,
    NumericColumn,
    ReferenceProfile,
    TextColumn,
)


def numeric(values, max_bins=20):
    return ReferenceProfile.fit({"x": np.asarray(values)}, max_bins).columns["x"]


def test_continuous_columns_get_equally_filled_bins():
    column = numeric(np.random.default_rng(0).normal(size=2000))
    assert_array_equal(column.counts, [0, 0, 10, 90, *[100] * 18, 90, 10, 0, 0, 0])


def test_constant_column_sees_values_on_both_sides():
    column = numeric(np.full(100, 0.1, dtype=np.float32))
    probe = np.array([-1, np.float32(0.1), 7])
    assert len(set(column.codes(probe).tolist())) == 3
    assert column.counts[column.codes(probe)[1]] == 100


def test_discrete_column_keeps_its_values_apart():
    column = numeric(np.repeat([0, 1, 5], [50, 30, 20]))
    codes = column.codes(np.array([-1.0, 0.0, 1.0, 5.0, 6.0]))
    assert len(set(codes.tolist())) == 5
    assert_array_equal(column.counts[codes], [0, 50, 30, 20, 0])


def test_an_atom_in_a_continuous_column_has_its_own_bin():
    rng = np.random.default_rng(0)
    column = numeric(np.concatenate([np.zeros(500), rng.normal(size=500)]))
    at_zero = column.codes(np.array([0.0]))[0]
    assert column.counts[at_zero] == pytest.approx(500, abs=60)
    assert len({*column.codes(np.array([-0.2, 0.0, 0.2])).tolist()}) == 3


def test_nan_and_infinities_have_their_own_bins():
    column = numeric([np.nan, np.nan, np.inf, -np.inf, *range(100)])
    assert_array_equal(column.codes(np.array([-np.inf, np.inf, np.nan])), [0, *column_ends(column)])
    assert column.counts[0] == 1
    assert_array_equal(column.counts[-2:], [1, 2])


def column_ends(column):
    return [column.bins - 2, column.bins - 1]


@pytest.mark.parametrize("values", [[np.nan] * 5, [np.inf, -np.inf], [True, False, True], [3]])
def test_degenerate_columns_are_counted_in_full(values):
    assert numeric(values).counts.sum() == len(values)


def test_small_references_get_fewer_bins():
    assert_array_equal(numeric(np.arange(30.0)).counts, [0, 0, 10, 10, 10, 0, 0, 0])


@given(
    hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(width=64)),
    st.integers(2, 30),
)
def test_every_value_falls_in_exactly_one_bin(values, max_bins):
    column = numeric(values, max_bins)
    assert column.counts.sum() == len(values)
    assert np.all(np.diff(column.edges) > 0)
    assert column.codes(values).max() < column.bins


def test_categories_other_and_missing():
    values = np.array(["a"] * 50 + ["b"] * 30 + ["rare"] * 3 + [None] * 2, dtype=object)
    column = ReferenceProfile.fit({"c": values}).columns["c"]
    assert column.categories == ("a", "b")
    assert_array_equal(column.counts, [50, 30, 3, 0, 2])
    probe = np.array([b"b", "a", "rare", "new", None, float("nan")], dtype=object)
    assert_array_equal(column.codes(probe), [1, 0, 2, 3, 4, 4])


def test_profiles_hold_no_rare_value():
    values = np.array(["common"] * 99 + ["Jane Doe"], dtype=object)
    notes = np.array([f"Jane Doe has note {at}" for at in range(100)], dtype=object)
    raw = json.dumps(ReferenceProfile.fit({"c": values, "notes": notes}).to_dict())
    assert "Jane" not in raw


def test_text_without_categories_has_length_and_unseen_words():
    texts = np.array([f"order {at} is late" for at in range(200)], dtype=object)
    column = ReferenceProfile.fit({"t": texts}).columns["t"]
    assert isinstance(column, TextColumn)


def test_a_profile_that_was_made_before_there_were_tails_is_read():
    old = {
        "n": 100,
        "columns": {
            "x": {"edges": [0.0], "counts": [0, 50, 50, 0, 0]},
            "c": {"categories": ["a"], "counts": [90, 10, 0]},
        },
    }
    profile = ReferenceProfile.from_dict(old)
    assert (profile.pairs, profile.cells, profile.outputs) == (None, (), None)
    assert_array_equal(profile.columns["c"].codes(np.array(["a", "new", None], object)), [0, 1, 2])
    assert profile.to_dict() == old


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ({"columns": {"x": {"edges": [0.0], "counts": [1, 2]}}}, "column 'x' has not as many"),
        ({"pairs": {"products": [1, 2], "sketch": [[], []]}}, "pairs are not of these"),
        ({"cells": [{"first": 0, "last": 1, "n": 5, "counts": [5], "pairs": []}]}, "cells are not"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(broken, told):
    raw = {"n": 100, "columns": {"x": {"edges": [0.0], "counts": [0, 50, 50, 0, 0]}}, **broken}
    with pytest.raises(ValueError, match=told):
        ReferenceProfile.from_dict(raw)


def test_survives_json():
    rng = np.random.default_rng(1)
    profile = ReferenceProfile.fit(
        {
            "x": np.where(rng.random(300) < 0.1, np.nan, rng.normal(size=300)),
            "constant": np.zeros(300, dtype=np.int64),
            "c": rng.choice(["a", "b"], 300),
            "t": np.array([f"text {at}" for at in range(300)]),
        },
        times=np.arange(300.0),
    )
    raw = json.dumps(profile.to_dict(), allow_nan=False)
    back = ReferenceProfile.from_dict(json.loads(raw))
    assert back.to_dict() == profile.to_dict()
    assert isinstance(back.columns["x"], NumericColumn)
    assert isinstance(back.columns["c"], CategoricalColumn)
    probe = rng.normal(size=50)
    assert_array_equal(back.columns["x"].codes(probe), profile.columns["x"].codes(probe))


@pytest.mark.parametrize(
    ("columns", "max_bins"),
    [({}, 20), ({"x": np.empty(0)}, 20), ({"x": np.ones(2), "y": np.ones(3)}, 20),
     ({"x": np.ones(9)}, 1)],
)  # fmt: skip
def test_refuses_what_is_no_reference(columns, max_bins):
    with pytest.raises(ValueError, match=r"reference columns|max_bins"):
        ReferenceProfile.fit(columns, max_bins)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.bool_])
@pytest.mark.parametrize("edges", [0, 1, 20, 60, 61, 300])
def test_bins_are_those_of_a_search_however_many_rows_and_edges(edges, dtype):
    rng = np.random.default_rng(edges)
    inner = np.unique(rng.normal(scale=3, size=edges))
    column = NumericColumn(inner, np.zeros(len(inner) + 4, dtype=np.int64))
    outer = [-np.inf, *inner, np.finfo(np.float64).max, np.inf]
    for rows in (0, 1, 255, 256, 3000):
        values = rng.normal(scale=3, size=rows).astype(dtype)
        if np.issubdtype(dtype, np.floating) and rows:
            odd = [np.nan, np.inf, -np.inf, np.finfo(dtype).max, -0.0, *inner[:3].astype(dtype)]
            at = rng.random(rows) < 0.2
            values[at] = rng.choice(np.array(odd, dtype), size=int(at.sum()))
        codes = column.codes(values)
        assert codes.dtype == np.int64
        np.testing.assert_array_equal(codes, np.searchsorted(outer, values))
