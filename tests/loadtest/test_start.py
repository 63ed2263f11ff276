import pytest

from loadtest import start
from loadtest.process import ServerError
from loadtest.start import Started, rested, table


def test_a_server_rests_once_all_is_there_and_little_is_used():
    seen = iter([None, 1.0, 3.0, 3.2, 3.21, 9.0])
    rested(lambda: next(seen), 0)
    assert next(seen) == 9.0


def test_a_server_that_never_rests_is_told(monkeypatch):
    monkeypatch.setattr(start, "LIMIT_S", 0.01)
    seen = iter(range(10**9))
    with pytest.raises(ServerError, match="rest"):
        rested(lambda: float(next(seen)), 0)


def test_medians_come_by_role_the_most_expensive_first_and_the_sum_last():
    found = [
        Started(number, role, cpu + number, 50.0)
        for number in (1, 2, 3)
        for role, cpu in (("gateway", 1.0), ("all", 6.0), ("monitor", 4.0))
    ]
    made = table(found)
    assert made.rows == [
        ("monitor", "6.00", "5.00 to 7.00", "50"),
        ("gateway", "3.00", "2.00 to 4.00", "50"),
        ("all", "8.00", "7.00 to 9.00", "50"),
    ]
    assert "3 starts" in made.note
