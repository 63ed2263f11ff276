import numpy as np
import pytest

from loadtest.experiments.slices import DEPTHS, SHARES, Size, calm, features, plant, planted, tables

SMALL = Size(seeds=1, rows=3000)


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_planted_slice_has_the_columns_and_the_size_that_it_should(depth):
    rng = np.random.default_rng(depth)
    columns = features(rng, 2000)
    names, inside = plant(columns, depth, rng)
    assert len(set(names)) == depth
    assert set(names) <= set(columns)
    assert SHARES[0] <= inside.mean() <= SHARES[1]


def test_what_is_found_is_compared_with_what_was_planted():
    found = planted(1, 3, SMALL)
    assert 0 <= found["alike"] <= 1
    assert found["right"] == (found["confirmed"] and found["alike"] >= 0.5)
    assert calm(0, SMALL) >= 0


def test_tables_count_by_depth():
    each = {"wrong": 0.4, "depth": 1, "right": True, "same_columns": False, "alike": 0.9}
    other = {"wrong": 0.2, "depth": 2, "right": False, "same_columns": True, "alike": 0.1}
    told = tables(
        {"size": {"seeds": 2, "rows": 100}, "planted": [each, other], "calm": [0, 2, 0]}
    )  # fmt: skip
    assert "| 40% | 1 | 1 | 1 | 0 | 0.90 |" in told
    assert "| 40% | all | 1 | 1 | 0 | 0.90 |" in told
    assert "| 20% | 2 | 1 | 0 | 0 | 0.10 |" in told
    assert "1 of 3 searches confirm a slice" in told
