import numpy as np
import pytest

from monitors.slices.discretised import discretised


def words_of(values, name="x"):
    table = discretised({name: values})
    return {
        table.words[each]: table.holds((each,)) for each in table.conditions
    }  # fmt: skip


def test_whole_numbers():
    age = np.arange(20, 70).repeat(10)
    found = words_of(age, "age")
    assert (found["age < 25"] == (age < 25)).all()
    assert (found["age >= 65"] == (age >= 65)).all()
    assert (found["30 <= age <= 34"] == ((age >= 30) & (age <= 34))).all()
    assert (found["age < 40"] == (age < 40)).all()


def test_words_hold_for_the_rows_of_every_condition():
    rng = np.random.default_rng(0)
    for values in (rng.normal(size=2000), rng.integers(0, 4, 2000), rng.poisson(2, 2000) * 1.0):
        for words, rows in words_of(values).items():
            told = values[rows]
            if words.startswith("x = "):
                assert (told == float(words[4:])).all()
            elif words.startswith("x < "):
                assert told.max() < float(words[4:]) <= values[~rows].min()
            elif words.startswith("x >= "):
                assert told.min() >= float(words[5:]) > values[~rows].max()
            elif words.startswith("x <= "):
                assert told.max() <= float(words[5:]) + 1e-3
                assert values[~rows].min() >= float(words[5:]) - 1e-3
            elif words.startswith("x > "):
                assert told.min() >= float(words[4:]) - 1e-3
            else:
                parts = words.replace("=", "").split(" ")
                low, high = float(parts[0]), float(parts[-1])
                assert low - 1e-2 <= told.min()
                assert told.max() <= high + 1e-2


def test_missing_infinite_and_constant():
    values = np.concatenate((np.full(50, np.nan), np.full(30, np.inf), np.arange(200.0)))
    found = words_of(values)
    assert found["x is missing"].sum() == 50
    assert found["x = inf"].sum() == 30
    assert "x < 160" not in found or not found["x < 160"][:50].any()
    assert words_of(np.ones(100)) == {}
    assert words_of(np.full(100, np.nan)) == {}


def test_categories_and_truths():
    region = np.array(["north"] * 50 + ["south"] * 30 + ["rare"] + [None] * 9, object)
    found = words_of(region, "region")
    assert {words: rows.sum() for words, rows in found.items()} == {
        "region = north": 50,
        "region = south": 30,
        "region is another value": 1,
        "region is missing": 9,
    }
    assert words_of(np.arange(100) < 30).keys() == {"x = 0", "x = 1"}


def test_several_columns_have_codes_of_their_own():
    table = discretised({"a": np.arange(100.0), "b": np.arange(100) % 2})
    assert table.codes[:, 0].max() < table.codes[:, 1].min()
    assert table.codes.max() == table.size - 1
    first = next(each for each in table.conditions if each.feature == 0)
    last = table.conditions[-1]
    both = table.holds((first, last))
    assert (both == (table.holds((first,)) & table.holds((last,)))).all()


def test_wrong_columns_are_named():
    with pytest.raises(ValueError, match="columns are empty"):
        discretised({})
    with pytest.raises(ValueError, match=r"column b has shape \[2\]"):
        discretised({"a": np.arange(3.0), "b": np.arange(2.0)})
    with pytest.raises(ValueError, match=r"column a has shape \[0\]"):
        discretised({"a": np.empty(0)})
