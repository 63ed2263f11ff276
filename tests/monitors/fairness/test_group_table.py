import numpy as np
import pytest

from monitors.fairness.group_bounds import MOST_GROUPS
from monitors.fairness.group_table import GroupTable


def test_groups_are_counted_in_columns():
    table = GroupTable(2)
    codes = table.codes(["b", None, "a", "b"])
    table.add(codes, np.array([0, 0, 1, 1]))
    assert dict(zip(table.groups, table.counts.tolist(), strict=True)) == {"b": [1, 1], "a": [0, 1]}
    table.add(codes, np.array([0, 0, -1, -1]), -1.0)
    assert table.counts[table.codes(["b"])[0]].tolist() == [0, 1]


def test_no_more_groups_are_counted_than_most():
    table = GroupTable(1)
    codes = table.codes([str(number) for number in range(2 * MOST_GROUPS)])
    assert len(table.groups) == MOST_GROUPS == (codes >= 0).sum()
    table.add(codes, np.zeros(len(codes), dtype=np.int64))
    assert table.counts.sum() == MOST_GROUPS


def test_state_brings_it_back():
    table = GroupTable(2)
    table.add(table.codes(["b", "a"]), np.array([1, 0]))
    again = GroupTable(2)
    again.restore(table.state())
    assert again.groups == table.groups
    assert (again.counts == table.counts).all()
    with pytest.raises(ValueError, match="other columns"):
        GroupTable(3).restore(table.state())
    empty = GroupTable(3)
    empty.restore({})
    assert empty.counts.shape == (0, 3)
