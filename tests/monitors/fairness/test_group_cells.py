from monitors.fairness.group_cells import MOST_GROUPS, Cell, GroupCells


def cells(**groups):
    """Cells with so many hits and rows per group."""
    made = GroupCells()
    for name, (hits, rows) in groups.items():
        made.add([name] * rows, [at < hits for at in range(rows)])
    return made


def test_counts_hits_and_rows_by_group():
    made = cells(a=(3, 10))
    made.add(["b", "a", None, "b"], [True, False, True, False])
    assert made.state() == {"a": [3, 11], "b": [1, 2]}


def test_small_groups_are_not_shown_and_the_others_by_their_rate():
    made = cells(high=(30, 40), tiny=(19, 19), low=(2, 20))
    assert made.shown() == [Cell(2, 20), Cell(30, 40)]
    assert made.shown()[0].rate == 0.1
    assert made.shown(smallest=1)[-1] == Cell(19, 19)


def test_groups_are_bounded_and_known_ones_go_on():
    made = GroupCells()
    made.add((str(n) for n in range(900)), [True] * 900)
    assert len(made) == MOST_GROUPS
    made.add(["0", "899"], [True, True])
    assert made.state()["0"] == [2, 2]
    assert len(made) == MOST_GROUPS


def test_a_state_goes_on_by_itself():
    made = cells(a=(3, 10))
    saved = made.state()
    again = GroupCells.from_state(saved)
    again.add(["a"], [True])
    assert (again.state(), made.state(), saved) == ({"a": [4, 11]}, {"a": [3, 10]}, {"a": [3, 10]})


def test_rows_are_taken_out_again_and_an_empty_group_goes():
    made = cells(a=(3, 10), b=(1, 1))
    made.remove(["a", "b", "c", None], [True, True, True, False])
    assert made.state() == {"a": [2, 9]}
