import numpy as np

from monitors.fairness.evidence import groups_shown


def shown(**cells):
    hits, rows = zip(*cells.values(), strict=True)
    return groups_shown(list(cells), np.array(hits), np.array(rows))


def test_large_groups_are_shown_with_their_rates():
    found = shown(a=(30, 60), b=(10, 100))
    assert found == ({"a": {"rate": 0.5, "rows": 60}, "b": {"rate": 0.1, "rows": 100}}, 0)


def test_one_small_group_takes_another_with_it():
    found = shown(a=(30, 60), b=(10, 100), c=(3, 5))
    assert list(found.rates) == ["b"]
    assert found.suppressed == 2


def test_two_small_groups_hide_each_other():
    found = shown(a=(30, 60), c=(3, 5), d=(1, 4))
    assert list(found.rates) == ["a"]
    assert found.suppressed == 2


def test_groups_without_rows_hide_nothing():
    assert shown(a=(30, 60), b=(0, 0)).suppressed == 0
