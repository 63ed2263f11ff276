"""A bounded mapping keeps what is used, whatever else comes."""

from __future__ import annotations

from serving.protocol.recent import Recent


def test_a_flood_of_new_keys_evicts_only_what_nobody_has_asked_for() -> None:
    recent: Recent[str, int] = Recent(8)
    recent["used"] = 1
    recent["idle"] = 2
    assert recent["used"] == 1
    for number in range(1000):
        assert recent[f"new-{number}"] is None
        recent[f"new-{number}"] = number
        assert recent.kept <= 9
    assert recent["used"] == 1
    assert recent["idle"] is None
    assert recent["new-999"] == 999


def test_of_what_is_used_the_least_recent_goes() -> None:
    recent: Recent[int, int] = Recent(2)
    for key in range(9):
        recent[key] = key
        assert recent[key] == key
        assert recent[0] == 0
        assert recent.kept <= 6
    assert [recent[key] for key in (0, 1, 8)] == [0, None, 8]


def test_what_was_used_since_the_last_size_new_keys_is_there() -> None:
    recent: Recent[int, int] = Recent(4)
    for number in range(100):
        recent[number] = number
        for back in range(min(number, 3) + 1):
            assert recent[number - back] == number - back


def test_a_value_is_replaced_and_everything_forgotten() -> None:
    recent: Recent[str, int] = Recent(2)
    for value in range(5):
        recent["a"] = value
        recent["b"] = value
    assert (recent["a"], recent["b"], recent.kept) == (4, 4, 2)
    recent["c"] = 1
    assert recent["c"] == 1  # the others are the older ones now
    recent["a"] = 7
    assert recent["a"] == 7
    recent.clear()
    assert (recent["a"], recent["b"], recent.kept) == (None, None, 0)
