import json

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
