"""Headers by name."""

from __future__ import annotations

from serving.gateway.http.headers import by_name


def test_what_is_given_twice_is_a_list() -> None:
    assert by_name([]) == {}
    assert by_name([(b"a", b"1"), (b"b", b"2")]) == {b"a": b"1", b"b": b"2"}
    assert by_name([(b"a", b"1"), (b"b", b"2"), (b"a", b""), (b"a", b"3")]) == {
        b"a": b"1, , 3", b"b": b"2",
    }  # fmt: skip
