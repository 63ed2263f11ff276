import mmap
import os

from loadtest.memory import Cost, costs, total


def test_memory_of_one_s_own_is_counted_once():
    before = next(iter(costs(os.getpid())))
    with mmap.mmap(-1, 64 << 20) as block:
        block.write(b"x" * (64 << 20))
        after = next(iter(costs(os.getpid())))
    for kind in ("pss", "private", "rss"):
        assert 60 < getattr(after, kind) - getattr(before, kind) < 90
    assert after.pss <= after.rss
    assert total([Cost("a", 1.0, 5, 9), Cost("b", 2.5, 5, 9)]) == 3.5
