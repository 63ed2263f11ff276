import json

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from monitors.reference.pair_sketch import MOST_BUCKETS, PairSketch, PairSums


def ranks(columns, rows, seed=0):
    return np.random.default_rng(seed).integers(-64, 65, (columns, rows)).astype(np.float32)


@pytest.mark.parametrize("columns", [0, 1, 2, 6, 7, 30])
def test_each_pair_is_in_one_bucket_and_buckets_are_alike(columns):
    sketch = PairSketch(columns)
    pairs = columns * (columns - 1) // 2
    assert sketch.buckets == min(pairs, MOST_BUCKETS)
    assert sketch.sizes.sum() == pairs
    assert len(set(map(tuple, sketch.pairs.T.tolist()))) == pairs
    assert pairs == 0 or sketch.sizes.max() - sketch.sizes.min() <= 1
    assert sketch.rows(ranks(columns, 5)).shape == (sketch.buckets, 5)


def test_of_few_columns_every_bucket_is_the_product_of_one_pair():
    sketch = PairSketch(4)
    some = ranks(4, 10)
    first, second = sketch.pairs
    assert_array_equal(sketch.rows(some), some[first] * some[second])


def test_a_bucket_is_a_sum_of_products_with_signs_that_never_change():
    sketch, again = PairSketch(30), PairSketch(30)
    some = ranks(30, 50)
    assert_array_equal(sketch.rows(some), again.rows(some))
    found = set()
    for at in range(sketch.pairs.shape[1]):
        alone = np.zeros((30, 1), np.float32)
        alone[sketch.pairs[:, at]] = [[2], [3]]
        sums = sketch.rows(alone)[:, 0]
        assert abs(sums[sketch.bucket[at]]) == 6
        assert np.count_nonzero(sums) == 1
        found.add(float(sums[sketch.bucket[at]]))
    assert found == {-6.0, 6.0}
    # What a release has written, others must read.
    assert sketch.pairs[:, :3].T.tolist() == [[22, 26], [17, 27], [10, 20]]


def test_sums_are_exact_and_come_back():
    sketch = PairSketch(30)
    some = ranks(30, 999)
    whole, parts = PairSums(sketch), PairSums(sketch)
    whole.add(some)
    for start in range(0, 999, 64):
        parts.add(some[:, start : start + 64])
    wide = some.astype(np.float64)
    assert_array_equal(whole.products, wide @ wide.T)
    assert_array_equal(whole.sketch[1], (sketch.rows(some).astype(float) ** 2).sum(1))
    again = PairSums.from_dict(json.loads(json.dumps(whole.to_dict())), sketch)
    for other in (parts, again):
        assert_array_equal(whole.products, other.products)
        assert_array_equal(whole.sketch, other.sketch)


@pytest.mark.parametrize("columns", [29, 31])
def test_sums_of_other_columns_are_refused(columns):
    raw = PairSums(PairSketch(columns)).to_dict()
    with pytest.raises(ValueError, match="not of these columns"):
        PairSums.from_dict(raw, PairSketch(30))


@pytest.mark.parametrize("columns", [2, 5, 6, 7, 17, 30])
def test_a_row_is_the_sum_of_signed_products_in_the_order_of_the_pairs(columns):
    sketch = PairSketch(columns)
    some = ranks(columns, 33, columns)
    expected = np.zeros((sketch.buckets, 33))
    for bucket, (first, second) in zip(sketch.bucket, sketch.pairs.T, strict=True):
        alone = np.zeros((columns, 1), np.float32)
        alone[[first, second]] = 1
        expected[bucket] += sketch.rows(alone)[bucket] * some[first] * some[second]
    assert_array_equal(sketch.rows(some), expected)
