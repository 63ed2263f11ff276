import numpy as np

from serving.monitoring.recent_rows import RecentRows


def fill(recent: RecentRows, *sizes: int) -> None:
    start = 0
    for size in sizes:
        recent.append({"a": np.arange(start, start + size, dtype=float)}, size)
        start += size


def test_empty():
    assert RecentRows(10).columns() == {}


def test_the_latest_rows_in_order():
    recent = RecentRows(10)
    fill(recent, 4, 4, 4, 4)
    assert recent.columns()["a"].tolist() == list(range(6, 16))


def test_one_large_batch():
    recent = RecentRows(10)
    fill(recent, 25)
    assert recent.columns()["a"].tolist() == list(range(15, 25))


def test_rows_of_requests_are_forgotten():
    recent = RecentRows(4)
    for start, idents in ((0, "ab"), (2, "bb"), (4, "cb")):
        recent.append({"a": np.arange(start, start + 2, dtype=float)}, 2, list(idents))
    recent.forget({"b", "x"})
    assert recent.columns()["a"].tolist() == [4]
    fill(recent, 2, 2)
    assert recent.columns()["a"].tolist() == [0, 1, 2, 3]
    recent.forget({"c"})
    assert recent.columns()["a"].tolist() == [0, 1, 2, 3]


def test_bytes_are_bounded():
    recent = RecentRows(1000, max_bytes=160)
    fill(recent, 10, 10, 10)
    assert recent.columns()["a"].tolist() == list(range(10, 30))
