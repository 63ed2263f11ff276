import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitors.tumbling_window import TumblingWindow


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
