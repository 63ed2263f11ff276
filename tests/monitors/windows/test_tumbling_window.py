import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitors.windows.tumbling_window import TumblingWindow


@given(st.lists(st.integers(0, 40), max_size=20), st.integers(1, 25))
def test_every_row_is_in_one_window_and_windows_are_full(batches, size):
    window = TumblingWindow(size)
    windows, current = [], []
    stream = 0
    for rows in batches:
        base = stream
        stream += rows

        def count(part, base=base):
            current.extend(range(base + part.start, base + part.stop))

        def close():
            windows.append(list(current))
            current.clear()

        window.add(rows, 0.0, count, close)
    assert [row for rows in [*windows, current] for row in rows] == list(range(stream))
    assert all(len(rows) == size for rows in windows)
    assert window.rows == len(current) < size


def test_span_covers_events_out_of_order():
    window = TumblingWindow(10)
    for time in (5.0, 3.0, 4.0):
        window.add(1, time, lambda _: None, lambda: None)
    assert window.span == (3.0, 5.0)


def test_a_window_needs_a_row():
    with pytest.raises(ValueError, match="at least one row"):
        TumblingWindow(0)


def test_windows_are_told_apart_and_alike_after_a_restart():
    window = TumblingWindow(10)
    seen = []
    for time in (100.0, 200.0):
        window.add(10, time, lambda _: None, lambda: seen.append(window.ident))
    window.add(3, 300.0, lambda _: None, lambda: None)
    again = TumblingWindow(10)
    again.restore(json.loads(json.dumps(window.state())))
    assert [*seen, again.ident] == ["0@100.000", "1@200.000", "2@300.000"]
    assert again.state() == window.state()


def test_a_state_from_before_windows_were_counted_is_taken():
    window = TumblingWindow(10)
    window.restore({"rows": 4, "span": [1.0, 2.0]})
    assert (window.rows, window.span, window.ident) == (4, (1.0, 2.0), "0@1.000")


def test_a_state_that_is_none_changes_nothing():
    window = TumblingWindow(10)
    with pytest.raises(KeyError):
        window.restore({"rows": 4})
    assert window.rows == 0


def test_labelled_rows_are_in_the_current_window_in_the_latest_or_in_an_older_one():
    window = TumblingWindow(3)
    positions = np.array([-1, 0, 1, 2, 3, 4, 5, 6, 7])

    def where():
        current, latest = window.in_current(positions), window.in_latest(positions)
        assert not (current & latest).any()
        return positions[current].tolist(), positions[latest].tolist()

    def take(n, first):
        given = np.arange(first, first + n)
        window.add(n, 0.0, lambda part: window.labelled(given[part]), lambda: None)

    assert where() == ([], [])
    take(2, 0)
    assert where() == ([0, 1, 2, 3, 4, 5, 6, 7], [])
    take(5, 2)
    assert where() == ([6, 7], [3, 4, 5])
    again = TumblingWindow(3)
    again.restore(json.loads(json.dumps(window.state())))
    assert again.in_latest(positions).tolist() == window.in_latest(positions).tolist()
    window.add(2, 0.0, lambda _: None, lambda: None)
    assert where() == ([], [6, 7])


def test_a_window_that_has_lasted_long_enough_ends_before_the_next_batch():
    window = TumblingWindow(100, seconds=60, least=10)
    closed = []

    def close():
        closed.append((window.rows, window.span, window.ident))

    for timestamp, rows in ((0.0, 6), (59.0, 3), (70.0, 4), (71.0, 5), (71.5, 100)):
        window.add(rows, timestamp, lambda part: None, close)
    # Nine rows are too few at 70 s; thirteen end with the next batch.
    assert closed == [(13, (0.0, 70.0), "0@0.000"), (100, (71.0, 71.5), "1@71.000")]
    assert window.rows == 5


def test_a_batch_without_rows_ends_no_window():
    window = TumblingWindow(100, seconds=60)
    window.add(5, 0.0, lambda part: None, lambda: None)
    window.add(0, 1e9, lambda part: None, lambda: None)
    assert window.rows == 5
