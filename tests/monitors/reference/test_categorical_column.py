from collections import Counter

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from monitors.reference.categorical_column import CategoricalColumn, as_text, fit_categorical


def texts(*values):
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def test_values_that_only_one_row_has_count_as_unseen():
    column = fit_categorical(Counter(a=50, b=3, c=1, d=1), 2, 20)
    assert column.categories == ("a",)
    assert column.labels == ["a", "other", "unseen", "missing"]
    assert_array_equal(column.counts, [50, 3, 2, 2])
    # What the stream brings of them is known all the same.
    assert_array_equal(column.codes(texts("a", "b", "c", "new", None)), [0, 1, 1, 2, 3])


def test_the_share_of_unseen_rows_is_that_of_a_new_sample():
    rng = np.random.default_rng(0)
    values = [f"v{at}" for at in rng.zipf(1.5, 8000)]
    column = fit_categorical(Counter(values[:4000]), 0, 20)
    codes = column.codes(texts(*values[4000:]))
    seen = np.bincount(codes, minlength=column.bins)
    assert seen[-2] == pytest.approx(column.counts[-2], rel=0.25)
    assert column.counts[-2] > 200


def test_many_values_have_buckets_by_hash():
    column = fit_categorical(Counter({f"v{at}": 2 for at in range(500)}), 0, 20)
    assert (column.buckets, column.bins) == (16, 18)
    assert (column.counts[:16] > 0).all()
    assert column.counts.sum() == 1000


def test_codes_stay_the_same_when_values_without_end_come():
    column = fit_categorical(Counter({"a": 50, **{f"v{at}": 2 for at in range(500)}}), 0, 20)
    first = column.codes(texts(*(f"x{at}" for at in range(10_000))))
    assert_array_equal(column.codes(texts(*(f"x{at}" for at in range(10_000)))), first)
    assert len(column._cached) <= 4096


def test_one_of_an_older_profile_has_no_bin_for_unseen_values():
    column = CategoricalColumn(("a",), np.array([9, 1, 0]))
    assert column.labels == ["a", "other", "missing"]
    assert_array_equal(column.codes(texts("a", "new", None)), [0, 1, 2])


@pytest.mark.parametrize("seed", range(5))
def test_values_of_any_kind_fall_in_the_bin_of_their_text(seed):
    column = fit_categorical(Counter({"a": 50, "1": 40, "é": 30, "rare": 1}), 0, 10)
    kinds = ["a", b"a", "1", 1, b"1", "\xe9", "\xe9".encode(), "rare", "new", 2.5, True, None,
             float("nan"), np.str_("a"), [1]]  # fmt: skip
    drawn = np.random.default_rng(seed).integers(0, len(kinds), 200)
    values = np.empty(len(drawn), object)
    values[:] = [kinds[at] for at in drawn]
    missing, unseen, other = column.bins - 1, column.bins - 2, column.bins - 3
    bins = {"a": 0, "1": 1, "\xe9": 2, "rare": other, None: missing}
    expected = [bins.get(as_text(value), unseen) for value in values.tolist()]
    assert column.codes(values).tolist() == expected
    assert column.codes(np.array([1, 7, 1])).tolist() == [1, unseen, 1]
