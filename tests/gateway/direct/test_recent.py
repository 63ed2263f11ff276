"""What is remembered, and who can make it forgotten."""

from __future__ import annotations

from serving.gateway.direct.recent import Recent


def test_what_comes_once_pushes_out_nothing_that_came_again():
    recent: Recent[int, int] = Recent(4)
    for key in range(3):
        recent.put(key, key)
        assert recent.get(key) == key
    for key in range(100, 10_000):
        assert recent.get(key) is None
        recent.put(key, key)
    assert [recent.get(key) for key in range(3)] == [0, 1, 2]
    assert len(recent) == 3 + 4


def test_of_what_is_used_the_least_recent_goes():
    recent: Recent[int, int] = Recent(2)
    for key in range(3):
        recent.put(key, key)
        assert recent.get(key) == key
        recent.get(0)
    assert [recent.get(key) for key in range(3)] == [0, None, 2]
