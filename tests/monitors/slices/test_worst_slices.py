import numpy as np
import pytest

from loadtest.experiments.slices import Size, planted
from monitors.slices.worst_slices import most_disparate_slices, worst_slices


def world(seed, n=6000):
    rng = np.random.default_rng(seed)
    columns = {
        "age": rng.integers(18, 78, n),
        "region": rng.choice(["north", "south", "east"], n),
        "balance": np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n)),
    }
    return rng, columns, (columns["age"] < 24) & (columns["region"] == "north")


def test_the_planted_slice_comes_first():
    size = Size(seeds=10, rows=5000)
    found = [planted(1 + seed % 3, seed, size) for seed in range(10)]
    assert sum(each["right"] for each in found) >= 9


def test_it_is_told_in_words_with_figures_of_held_out_rows():
    rng, columns, bad = world(0)
    errors = rng.random(6000) < np.where(bad, 0.6, 0.1)
    first = worst_slices(columns, errors).slices[0]
    assert first.words == "age < 24 and region = north"
    assert first.columns == ("age", "region")
    assert (first.rows == bad).all()
    assert bad.sum() * 0.4 < first.n < bad.sum() * 0.6
    assert first.low < 0.6 < first.high
    assert first.confirmed
    assert first.lift == first.value / first.overall > 4
    assert first.p_value < 1e-6


def test_losses_need_not_be_zero_or_one():
    rng, columns, bad = world(1)
    losses = rng.exponential(size=6000) * np.where(bad, 6, 1)
    first = worst_slices(columns, losses).slices[0]
    assert first.words == "age < 24 and region = north"
    assert first.low < 6 < first.high


def test_missing_values_are_a_slice():
    rng, columns, _ = world(2)
    errors = rng.random(6000) < np.where(np.isnan(columns["balance"]), 0.3, 0.1)
    assert worst_slices(columns, errors).slices[0].words == "balance is missing"


def test_where_nothing_is_planted_nothing_is_confirmed():
    told = 0
    for seed in range(10):
        rng, columns, _ = world(seed, 1200)
        errors = rng.random(1200) < 0.1
        told += any(each.confirmed for each in worst_slices(columns, errors).slices)
    assert told <= 1  # 5 % are stated


def test_slices_differ_by_their_rows():
    rng, columns, bad = world(3)
    columns["age again"] = columns["age"] * 2
    errors = rng.random(6000) < np.where(bad, 0.6, 0.1)
    found = worst_slices(columns, errors).slices
    for at, one in enumerate(found):
        for other in found[:at]:
            assert (one.rows & other.rows).sum() <= 0.6 * (one.rows | other.rows).sum()
    assert found[0].rows.sum() > 0


def test_the_slice_with_the_largest_gap_of_groups_is_found():
    rng, columns, _ = world(4)
    members = rng.random(6000) < 0.4
    inside = columns["region"] == "north"
    rate = 0.5 - 0.3 * (members & inside)
    found = most_disparate_slices(columns, rng.random(6000) < rate, members).slices
    assert found[0].words == "region = north"
    assert found[0].low < -0.3 < found[0].high
    assert found[0].confirmed


def test_a_gap_that_is_the_same_everywhere_is_no_slice():
    told = 0
    for seed in range(4):
        rng, columns, _ = world(seed, 2000)
        members = rng.random(2000) < 0.5
        outcomes = rng.random(2000) < 0.5 - 0.2 * members
        found = most_disparate_slices(columns, outcomes, members).slices
        told += any(each.confirmed for each in found)
    assert told <= 1


def test_nothing_depends_on_anything_but_the_seed():
    rng, columns, bad = world(5, 2000)
    errors = rng.random(2000) < np.where(bad, 0.6, 0.1)
    first, again = (worst_slices(columns, errors, seed=1).slices for _ in range(2))
    assert [each.words for each in first] == [each.words for each in again]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"errors": np.zeros(500)}, "errors are all 0"),
        ({"errors": np.zeros(100)}, r"errors have shape \[100\]"),
        ({"errors": np.full(500, np.nan)}, "errors must be finite numbers"),
        ({"errors": np.linspace(-1, 1, 500)}, "errors are as low as -1"),
        ({"columns": {}}, "columns are empty"),
        ({"columns": {"a": np.zeros(3)}}, r"column a has shape \[3\]; it must be \[500\]"),
        ({"depth": 0}, "top and depth"),
        ({"level": 1.0}, "alpha and level"),
    ],
)
def test_wrong_input_is_named(given, told):
    usual = {"columns": {"a": np.arange(500)}, "errors": np.arange(500) % 2}
    with pytest.raises(ValueError, match=told):
        worst_slices(**{**usual, **given})


def test_wrong_groups_are_named():
    columns, hits = {"a": np.arange(500)}, np.arange(500) % 2
    with pytest.raises(ValueError, match="outcomes must be 0 or 1"):
        most_disparate_slices(columns, np.arange(500), hits == 1)
    with pytest.raises(ValueError, match="members must be booleans"):
        most_disparate_slices(columns, hits, hits)
    with pytest.raises(ValueError, match="members must be at least 128 rows"):
        most_disparate_slices(columns, hits, np.arange(500) < 50)
