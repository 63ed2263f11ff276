"""What happened first comes first."""

import numpy as np
import pytest

from serving.backtest.happenings import (
    LEAST_SPAN_S,
    MOST_ROWS,
    Labelled,
    Predicted,
    events,
    in_order,
)


def test_every_row_is_in_one_event():
    random = np.random.default_rng(0)
    when = np.sort(random.random(5000) * 50_000)
    found = list(events(when))
    assert [start for start, _ in found] == [0, *(stop for _, stop in found[:-1])]
    assert found[-1][1] == len(when)
    for start, stop in found:
        assert 1 <= stop - start <= MOST_ROWS
        assert when[stop - 1] - when[start] <= LEAST_SPAN_S


def test_few_rows_of_a_long_time_are_not_a_look_each():
    when = np.arange(100_000) * 100.0
    assert len(list(events(when))) <= 25_000


@pytest.mark.parametrize(
    ("predictions", "labels", "order"),
    [
        ([1, 2, 3], [], "p1 p2 p3"),
        ([1, 5], [2, 3, 9], "p1 l2 l3 p5 l9"),
        ([1, 2], [2], "p1 p2 l2"),  # a row is there before its label
        ([], [1], "l1"),
    ],
)
def test_labels_come_between(predictions, labels, order):
    told = in_order(
        (Predicted(time, "1", None) for time in predictions),
        (Labelled(time, []) for time in labels),
    )
    assert " ".join(f"{type(each).__name__[0].lower()}{each.time}" for each in told) == order
