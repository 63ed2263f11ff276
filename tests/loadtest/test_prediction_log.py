from collections.abc import Sequence

import pytest

from loadtest.log_rows import DAYS, identities
from loadtest.log_tables import LABELS
from loadtest.prediction_log import deleted, joined, looked, measured


def test_tasks_are_done_in_their_order_and_share_the_processor_time():
    done: list[str] = []
    spent = iter([1.0, 1.5])
    row = measured(
        "m", 9, [lambda: done.append("a"), lambda: done.append("b")], lambda: next(spent)
    )
    assert done == ["a", "b"]
    assert (row.name, row.rows, row.processor_ms) == ("m", 9, 250)


def test_every_id_must_be_found():
    asked: list[str] = []

    def find(identity: str) -> bool:
        asked.append(identity)
        return identity != "c"

    looked("m", 9, find, ["a", "b"])
    assert asked == ["a", "b"]
    with pytest.raises(AssertionError, match="c"):
        looked("m", 9, find, ["b", "c"])


def test_each_push_joins_other_labels_and_all_of_them():
    pushed: list[Sequence[str]] = []

    def join(wanted: Sequence[str]) -> int:
        pushed.append(wanted)
        return len(wanted)

    joined("m", 100_000, 64, join, pushes=2)
    assert pushed == [identities(100_000, 64, LABELS, seed) for seed in (1, 2)]
    assert pushed[0] != pushed[1]
    with pytest.raises(AssertionError, match="999"):
        joined("m", 100_000, 64, lambda wanted: len(wanted) - 1, pushes=1)


def test_the_oldest_day_is_deleted_once_and_must_be_gone():
    left = [1000 * DAYS]

    def delete() -> None:
        left[0] -= 1000

    deleted("m", 1000 * DAYS, delete, lambda: left[0])
    assert left == [1000 * (DAYS - 1)]
    with pytest.raises(AssertionError):
        deleted("m", 1000 * DAYS, lambda: None, lambda: 1000 * DAYS)
