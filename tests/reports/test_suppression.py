import numpy as np
import pytest

from serving.reports.suppression import suppressed


@pytest.mark.parametrize(
    ("counts", "hidden"),
    [
        ([100, 50, 20], [False, False, False]),
        ([100, 50, 0], [False, False, False]),  # nobody is in it
        ([100, 50, 19], [False, True, True]),  # the total would tell the 19
        ([100, 50, 12, 9], [False, False, True, True]),  # two together are 21 people
        ([100, 50, 5, 6], [False, True, True, True]),
        ([5], [True]),
        ([5, 0, 6], [True, False, True]),
        ([], []),
    ],
)
def test_small_counts_are_hidden_and_cannot_be_told_from_the_total(counts, hidden):
    assert suppressed(np.array(counts, np.int64)).tolist() == hidden


def test_no_total_of_a_table_tells_a_cell():
    #        Berlin Bremen Kiel
    table = [[300, 200, 14],  # women
             [290, 210, 60]]  # men  # fmt: skip
    counts = np.array(table, np.int64).ravel()
    cells = np.arange(6).reshape(2, 3)
    hidden = suppressed(counts, [*cells, *cells.T]).reshape(2, 3)
    assert hidden[0, 2]
    for line in (*hidden, *hidden.T):
        assert line.sum() != 1, "the total of a row or a column would tell it"
    assert hidden.sum() == 4
