import json

import numpy as np
import pytest

from monitors.performance.group_values import (
    SharedGroups,
    groups_of,
    restored,
    saved,
    without_rows,
)


def column(*values):
    return np.array(values, dtype=object)


def test_rows_with_the_same_values_share_them():
    shared = SharedGroups()
    first, second, third = shared.of({"sex": column("F", "M", "F"), "age": column("x", None, "x")})
    assert (first, second) == ({"sex": "F", "age": "x"}, {"sex": "M"})
    assert third is first
    (again,) = shared.of({"sex": column("F"), "age": column("x")})
    assert again is first
    assert shared.of({}) is None


def test_values_that_clients_make_up_are_shared_by_few(monkeypatch):
    monkeypatch.setattr("monitors.performance.group_values.MOST_SHARED", 10)
    shared = SharedGroups()
    for number in range(100):
        assert shared.of({"sex": column(str(number))}) == [{"sex": str(number)}]
    assert len(shared._shared) <= 10


def test_they_are_saved_once_each():
    groups = SharedGroups().of({"sex": column("F", "M", "F", "F", None)})
    told = json.loads(json.dumps(saved(groups)))
    assert told["values"] == [{"sex": "F"}, {"sex": "M"}, {}]
    assert restored(told) == groups
    out = [False, True, False, False, False]
    left = without_rows(told, out)
    assert restored(left) == [{"sex": "F"}, {}, {"sex": "F"}, {"sex": "F"}, {}]
    assert "M" not in json.dumps(left)


@pytest.mark.parametrize("told", [["sex"], {"sex": None}])
def test_of_names_alone_nobody_knows_the_values(told):
    assert groups_of(told) == {"sex": None}


def test_what_an_earlier_release_saved_are_names():
    assert restored([[["sex"], 2], [[], 1]]) == [{"sex": None}, {"sex": None}, {}]
