import numpy as np
import pytest

from monitors.drift.features.statistics import statistics
from monitors.reference.categorical_column import CategoricalColumn
from monitors.reference.numeric_column import NumericColumn
from monitors.reference.profile import ReferenceProfile
from monitors.reference.row_codes import RowCodes


def of(values, track=0):
    """The statistics of a column of these values, by name, as arrays over its bins."""
    codes = RowCodes(ReferenceProfile.fit({"x": np.asarray(values)}).columns)
    bins = codes.tracks[track].bins
    found = {}
    for each in statistics(codes.tracks[track]):
        dense = np.zeros(bins.bins)
        dense[each.bins] = each.values
        found[each.name] = dense
    return bins, found


def test_numbers_have_location_spread_tails_and_what_is_no_number():
    bins, found = of(np.random.default_rng(0).normal(size=2000))
    assert list(found) == [
        "missing", "infinite", "location", "spread", "low tail", "high tail",
        "outside the reference's range",
    ]  # fmt: skip
    low, high, below, above, infinite, missing = (
        {name for name, values in found.items() if values[bins.codes(np.array([value]))[0]] == 1}
        for value in (-3.0, 3.0, -9.0, 9.0, np.inf, np.nan)
    )
    assert (low, high) == ({"low tail"}, {"high tail"})
    assert below == {"low tail", "outside the reference's range", "spread"}
    assert above == {"high tail", "outside the reference's range", "spread", "location"}
    assert infinite >= {"infinite", "location"}
    assert missing == {"missing"}


def test_location_grows_and_spread_is_least_in_the_middle():
    bins, found = of(np.random.default_rng(0).normal(size=2000))
    codes = bins.codes(np.array([-2.0, 0.0, 2.0]))
    low, middle, high = found["location"][codes]
    assert low < 0.1 < 0.45 < middle < 0.55 < 0.9 < high
    low, middle, high = found["spread"][codes]
    assert middle < 0.1 < 0.9 < min(low, high)


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([True, False] * 50, ["missing", "infinite", "location", "outside the reference's range"]),
        ([7.0] * 50, ["missing", "infinite", "outside the reference's range"]),
        ([np.nan] * 50, ["missing", "infinite"]),
    ],
)
def test_constants_and_flags_have_what_can_move(values, names):
    assert list(of(values)[1]) == names


def test_of_few_values_the_share_of_each_is_watched():
    bins, found = of(np.repeat([1.0, 2.0, 3.0], 40))
    shares = {name: values for name, values in found.items() if name.startswith("share")}
    assert list(shares) == [
        "share of values from 1 to 1.5",
        "share of values from 1.5 to 2.5",
        "share of values from 2.5 to 3",
    ]
    at_two = bins.codes(np.array([2.0]))[0]
    assert [values[at_two] for values in shares.values()] == [0, 1, 0]


def test_bins_of_an_older_profile_have_names_up_to_the_last():
    old = {"edges": [0.0, 1.0], "counts": [0, 30, 40, 30, 0, 0]}
    codes = RowCodes({"x": NumericColumn.from_dict(old)})
    shares = [each.name for each in statistics(codes.tracks[0]) if each.name.startswith("share")]
    assert shares == [
        "share of values from -inf to 0",
        "share of values from 0 to 1",
        "share of values above 1",
    ]


def test_categories_rest_unseen_and_missing():
    values = np.array(["a"] * 50 + ["b"] * 30 + ["c"] * 3 + [None], dtype=object)
    _, found = of(values)
    assert list(found) == ["missing", "share of 'a'", "share of 'b'", "share of other", "unseen"]


def test_an_old_column_of_rare_values_has_nothing_to_watch():
    codes = RowCodes({"x": CategoricalColumn((), np.array([90, 10]))})
    assert [each.name for each in statistics(codes.tracks[0])] == ["missing"]


def test_texts_have_length_and_unseen_words():
    values = np.array([f"note {at} of {at % 7} days" for at in range(500)])
    names = list(of(values)[1])
    assert names[:2] == ["missing", "infinite"]
    assert "length" in names
    assert list(of(values, track=1)[1]) == ["unseen words"]
