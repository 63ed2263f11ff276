import numpy as np
import pytest
from numpy.testing import assert_array_equal

from monitors.reference.profile import ReferenceProfile
from monitors.reference.row_codes import MOST_PAIRED, RowCodes, as_numbers


@pytest.fixture
def profile():
    rng = np.random.default_rng(0)
    return ReferenceProfile.fit(
        {
            "x": rng.normal(size=400),
            "t": np.array([f"note {at}" for at in range(400)]),
            "c": rng.choice(["a", "b"], 400),
            "k": np.ones(400),
            "y": np.where(rng.random(400) < 0.2, np.nan, rng.normal(size=400)),
        }
    )


def test_every_value_is_counted_in_its_own_track(profile):
    codes = RowCodes(profile.columns)
    assert [(each.column, each.measure) for each in codes.tracks] == [
        ("x", ""), ("t", "length"), ("t", "unseen words"), ("c", ""), ("k", ""), ("y", ""),
    ]  # fmt: skip
    rows = {
        "x": np.array([0.0, np.nan], np.float32),
        "t": np.array([b"note 5", None], object),
        "c": np.array([b"a", b"z"], object),
        "k": np.array([1, 2]),
        "y": np.array([0.0, 1.0]),
    }
    found = codes.codes(rows, 2)
    assert (found >= codes.starts[:-1, None]).all()
    assert (found < codes.starts[1:, None]).all()
    assert found[0, 1] == codes.starts[1] - 1


@pytest.mark.parametrize("values", [None, np.array(["a", None], object)])
def test_what_a_batch_lacks_or_has_as_another_kind_is_missing(profile, values):
    codes = RowCodes(profile.columns)
    found = codes.codes({} if values is None else {"x": values}, 2)
    assert_array_equal(found, np.repeat(codes.starts[1:, None] - 1, 2, axis=1))


def test_ranks_are_of_columns_that_vary_and_a_missing_one_is_in_the_middle(profile):
    codes = RowCodes(profile.columns)
    assert [codes.tracks[at].column for at in codes.paired] == ["x", "y"]
    assert codes.sketch.pairs.tolist() == [[0], [1]]
    rows = {"x": np.array([9.0, -9.0, 9.0, 0.0]), "y": np.array([9.0, -9.0, np.nan, 0.0])}
    found = codes.codes(rows, 4)
    ranks = codes.ranks(found)
    assert ranks[:, :3].tolist() == [[64, -64, 64], [64, -64, 0]]
    counts = np.bincount(found.ravel(), minlength=codes.bins)
    assert_array_equal(codes.rank_sums(counts), ranks.sum(axis=1))
    sums = codes.pair_sums(found)
    assert_array_equal(sums.products, ranks @ ranks.T)


def test_with_many_columns_no_pair_is_watched():
    for number, buckets in ((MOST_PAIRED, 16), (MOST_PAIRED + 1, 0)):
        values = {str(at): np.arange(50.0) for at in range(number)}
        assert RowCodes(ReferenceProfile.fit(values).columns).sketch.buckets == buckets


def test_what_is_no_number_is_missing():
    assert_array_equal(
        as_numbers(np.array([b"1.5", "2", None, "x", 3], object)), [1.5, 2, np.nan, np.nan, 3]
    )
    assert as_numbers(np.array([True, False])).tolist() == [1.0, 0.0]
