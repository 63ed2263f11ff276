"""What was read is kept within a bound."""

import pytest

from serving.log.kept import Kept


@pytest.mark.parametrize(
    ("most", "asked", "read"),
    [(30, "abcabc", "abc"), (20, "abcabc", "abcabc"), (20, "abacab", "abcb"), (0, "aab", "ab")],
)
def test_what_was_used_last_stays(most, asked, read):
    made = []

    def make(key):
        made.append(key)
        return key.upper(), 10

    kept = Kept(make, most)
    assert [kept.get(key) for key in asked] == list(asked.upper())
    assert made == list(read)
    assert len(kept) == max(1, min(most // 10, len(set(asked))))


def test_what_cannot_be_read_is_not_kept():
    kept = Kept(lambda key: (1 / key, 1), 10)
    with pytest.raises(ZeroDivisionError):
        kept.get(0)
    assert (len(kept), kept.get(2)) == (0, 0.5)
