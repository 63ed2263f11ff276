import json

import numpy as np
import pytest

from monitors.estimation.binned_columns import MOST_COLUMNS, BinnedColumns


def columns(n=200, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "age": rng.integers(18, 80, n),
        "income": np.where(rng.random(n) < 0.1, np.nan, rng.lognormal(10, 1, n)),
        "kind": rng.choice([b"car", b"home"], n).astype(object),
    }


def test_bins_keep_the_order_of_numbers_and_hold_no_value():
    given = columns()
    bins = BinnedColumns.fit(given)
    codes = bins.codes(given, 200)
    assert (codes.dtype, codes.shape) == (np.uint8, (200, 3))
    order = np.argsort(given["age"], kind="stable")
    assert (np.diff(codes[order, 0].astype(int)) >= 0).all()
    assert len(np.unique(codes[np.isnan(given["income"]), 1])) == 1
    assert {len(set(codes[given["kind"] == kind, 2])) for kind in (b"car", b"home")} == {1}
    assert set(bins.features(codes)) == set(given)


def test_unseen_and_infinite_values_have_bins():
    bins = BinnedColumns.fit(columns())
    strange = {
        "age": np.array([-np.inf, np.inf, np.nan]),
        "income": np.array([1e300, -1.0, 0.0]),
        "kind": np.array([b"boat", None, "car"], object),
    }
    assert bins.codes(strange, 3).shape == (3, 3)


def test_outlives_a_file():
    bins = BinnedColumns.fit(columns())
    again = BinnedColumns.from_dict(json.loads(json.dumps(bins.to_dict())))
    other = columns(seed=1)
    assert again.codes(other, 200).tolist() == bins.codes(other, 200).tolist()


def test_a_missing_column_is_named_and_too_many_are_none():
    bins = BinnedColumns.fit(columns())
    with pytest.raises(ValueError, match="column 'income' of the profile is missing"):
        bins.codes({"age": np.zeros(2), "kind": np.zeros(2)}, 2)
    many = {f"x{at}": np.arange(50.0) for at in range(MOST_COLUMNS + 1)}
    assert BinnedColumns.fit(many).codes({}, 5).shape == (5, 0)
