"""Lines per cause: the first at once, one in a while, and a count that loses nothing."""

from __future__ import annotations

import random
import threading

from serving.telemetry.logs.rate_limit import RateLimit


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def make(burst: int = 2, most: int = 512) -> tuple[RateLimit[str], Clock]:
    clock = Clock()
    return RateLimit(burst, 10.0, most, clock), clock


def test_the_first_lines_go_out_and_then_one_an_interval_with_a_count() -> None:
    limit, clock = make()
    assert [limit.admit("a", "x") for _ in range(5)] == [0, 0, None, None, None]
    clock.now = 9.9
    assert limit.admit("a", "x") is None
    clock.now = 10.0
    assert limit.admit("a", "x") == 4
    assert limit.admit("a", "x") is None


def test_causes_do_not_share() -> None:
    limit, _ = make(burst=1)
    assert limit.admit("a", "x") == 0
    assert limit.admit("a", "x") is None
    assert limit.admit("b", "x") == 0


def test_what_never_comes_again_is_told_by_and_by() -> None:
    limit, clock = make(burst=1)
    for line in "xyz":
        limit.admit("a", line)
    assert limit.due() == []
    assert limit.pending
    clock.now = 10.0
    assert limit.due() == [("z", 1)]
    assert not limit.pending
    assert limit.due() == []


def test_at_the_end_everything_is_told() -> None:
    limit, _ = make(burst=1)
    for _ in range(4):
        limit.admit("a", "x")
    assert limit.due(everything=True) == [("x", 2)]


def test_memory_is_bounded_and_a_forgotten_cause_is_told_first() -> None:
    limit, _ = make(burst=1, most=10)
    limit.admit("first", "f")
    limit.admit("first", "f")
    limit.admit("first", "f")
    for number in range(1000):
        limit.admit(number, "x")
    assert len(limit._known) == 10
    assert limit.due() == [("f", 1)]


def test_lines_and_counts_add_up_to_what_happened() -> None:
    limit, clock = make(burst=3, most=7)
    chance = random.Random(11)
    happened = told = 0
    for _ in range(20_000):
        clock.now += chance.expovariate(5)
        happened += 1
        suppressed = limit.admit(chance.randrange(9), "x")
        told += 0 if suppressed is None else 1 + suppressed
        if chance.random() < 0.01:
            told += sum(1 + more for _, more in limit.due())
    told += sum(1 + more for _, more in limit.due(everything=True))
    assert told == happened


def test_threads_lose_no_count() -> None:
    limit, _ = make(burst=1)
    told: list[int] = []

    def hammer() -> None:
        for _ in range(2000):
            if (suppressed := limit.admit("a", "x")) is not None:
                told.append(1 + suppressed)

    threads = [threading.Thread(target=hammer) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told += [1 + more for _, more in limit.due(everything=True)]
    assert sum(told) == 8000
