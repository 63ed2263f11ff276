import numpy as np

from serving.reports.group_counts import MOST_GROUPS, by_attribute, columns_of


def column(*groups):
    values = [name for name, count in groups for _ in range(count)]
    found = np.empty(len(values), object)
    found[:] = values
    return found


def of(*groups, labelled=None):
    values = column(*groups)
    known = np.ones(len(values), bool) if labelled is None else labelled
    [found] = by_attribute({"sex": values}, known)
    return found


def test_groups_are_named_by_size_and_rows_without_one_are_nowhere():
    found = of(("F", 30), (None, 40), ("M", 50))
    assert found.names == ("M", "F")
    assert found.rows.tolist() == [50, 30]
    assert np.bincount(found.codes + 1).tolist() == [40, 50, 30]


def test_a_small_group_hides_another_one():
    found = of(("F", 30), ("X", 3), ("M", 50))
    assert (found.names, found.others) == (("M",), 2)
    assert (found.codes >= 0).sum() == 50


def test_the_largest_groups_are_named():
    found = of(*((f"g{at}", 30 + at) for at in range(MOST_GROUPS + 5)))
    assert found.names[0] == f"g{MOST_GROUPS + 4}"
    assert (len(found.names), found.others) == (MOST_GROUPS, 5)


def test_few_labels_of_a_group_are_hidden_though_the_group_is_not():
    labelled = np.zeros(80, bool)
    labelled[:3] = True
    labelled[30:70] = True
    found = of(("F", 30), ("M", 50), labelled=labelled)
    assert found.labelled_hidden.tolist() == [True, True]  # 40 of M, or the 3 would be told
    assert found.hidden.tolist() == [False, False]


def test_several_attributes_are_joined():
    groups = {"sex": column(("F", 40), ("M", 40)), "age": column(("old", 20), ("young", 60))}
    found = by_attribute(groups, np.ones(80, bool))
    assert [each.attribute for each in found] == ["sex", "age", "sex & age"]
    assert set(found[2].names) == {"F & old", "F & young", "M & young"}


def test_counts_and_sums_are_by_group():
    found = of(("F", 30), ("M", 50))
    selected = np.array([1] * 10 + [0] * 20 + [1] * 25 + [0] * 24 + [-1])
    assert found.counts(selected, 2).tolist() == [[24, 25], [20, 10]]
    values = np.where(selected == 1, 2.0, np.nan)
    total, squares, rows = found.sums(values)
    assert (total.tolist(), squares.tolist(), rows.tolist()) == ([50, 20], [100, 40], [25, 10])


def test_columns_are_those_of_the_definitions():
    selected, favorable = np.array([0, 1, 0, 1, -1, 1]), np.array([0, 0, 1, 1, 1, -1])
    columns = columns_of(selected, favorable)
    assert columns[True][0].tolist() == [0, 1, 2, 3, -1, -1]
    assert columns[False][0].tolist() == selected.tolist()


def test_tables_of_two_attributes_do_not_tell_what_is_hidden():
    cells = [("F", "old", 200), ("F", "young", 14), ("M", "old", 190), ("M", "young", 60)]
    sex = column(*((each, count) for each, _, count in cells))
    age = column(*((each, count) for _, each, count in cells))
    *single, both = by_attribute({"sex": sex, "age": age}, np.ones(len(sex), bool))
    assert [each.names for each in single] == [("M", "F"), ("old", "young")]
    assert (both.attribute, both.names, both.others) == ("sex & age", (), 4)
