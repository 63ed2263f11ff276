from functools import partial

import numpy as np

from monitors.slices.confirmation import worse_by
from monitors.slices.discretised import discretised
from monitors.slices.refinement import refined


def world():
    rng = np.random.default_rng(0)
    n = 6000
    columns = {
        "age": rng.integers(20, 70, n),
        "region": rng.choice(["north", "south"], n),
        "other": rng.normal(size=n),
    }
    bad = (columns["age"] < 30) & (columns["region"] == "north")
    errors = (rng.random(n) < np.where(bad, 0.6, 0.1)) * 1.0
    table = discretised(columns)

    def worse(inside, rest):
        return worse_by(errors[inside], errors[rest])

    named = {words: condition for condition, words in table.words.items()}
    return table, named, worse


def words(table, conditions):
    return [table.words[each] for each in conditions]


def test_an_idle_condition_is_left_out_and_a_wide_one_narrowed():
    table, named, worse = world()
    age = [name for name in named if name.startswith("age < ")]
    edge = {int(name.split()[-1]): named[name] for name in age}
    widest, nearest = max(edge), min(edge, key=lambda at: abs(at - 30))
    other = next(named[name] for name in named if name.startswith("other <= 1"))
    found = refined(table, (edge[widest], named["region = north"], other), worse)
    assert words(table, found) == [table.words[edge[nearest]], "region = north"]


def test_what_is_right_stays_and_one_condition_always_does():
    table, named, worse = world()
    edge = next(named[name] for name in named if name in {"age < 30", "age < 31", "age < 29"})
    right = (edge, named["region = north"])
    assert refined(table, right, worse) == right
    assert refined(table, (named["region = south"],), worse) == (named["region = south"],)


def test_rows_are_never_fewer_than_the_support():
    table, _, _ = world()
    wide = max((each for each in table.conditions if each.feature == 0),
               key=lambda each: each.last - each.first)  # fmt: skip
    found = refined(table, (wide,), partial(lambda inside, rest: float(1e4 / inside.sum())))
    assert table.holds(found).sum() >= 60
