"""What is remembered of a request that ended a replica, and for how long."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from serving.dataplane.batching import deadly_requests
from serving.dataplane.batching.deadly_requests import KEPT_S, DeadlyRequests, deadly_request
from serving.dataplane.requests.bound import Bound


def bound(*arrays: Any, key: Any = ((2,),)) -> Bound:
    made = tuple(np.asarray(array) for array in arrays)
    return Bound(made, len(made[0]), key, (), None)


def text(*values: bytes) -> np.ndarray:
    array = np.empty((1, len(values)), dtype=np.object_)
    array[0, :] = values
    return array


SAME = [
    (np.zeros((1, 1000), np.float32), np.zeros((1, 1000), np.float32)),
    (np.arange(12.0).reshape(3, 4).T, np.ascontiguousarray(np.arange(12.0).reshape(3, 4).T)),
    (text(b"a", b"bc"), text(b"a", b"bc")),
    (np.zeros((1, 0)), np.zeros((1, 0))),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same_inputs_are_known(one: np.ndarray, other: np.ndarray) -> None:
    known = DeadlyRequests()
    known.add(deadly_request(bound(one), "ended"))
    assert known.how(bound(other)) == "ended"
    assert len(known) == 1


def test_one_other_value_makes_another_request() -> None:
    known = DeadlyRequests()
    rows = np.zeros((1, 1000), np.float32)
    known.add(deadly_request(bound(rows), "ended"))
    for place in (0, 1, 500, 999):
        other = rows.copy()
        other[0, place] = 1
        assert known.how(bound(other)) is None
    assert known.how(bound(rows, key=((3,),))) is None
    known.add(deadly_request(bound(text(b"a", b"bc")), "ended"))
    assert known.how(bound(text(b"ab", b"c"))) is None


def test_it_is_forgotten_after_a_while() -> None:
    now = [0.0]
    known = DeadlyRequests(lambda: now[0])
    known.add(deadly_request(bound([[1.0, 2.0]]), "first"))
    now[0] = KEPT_S / 2
    known.add(deadly_request(bound([[3.0, 4.0]]), "second"))
    now[0] = KEPT_S + 1
    assert known.how(bound([[1.0, 2.0]])) is None
    assert known.how(bound([[3.0, 4.0]])) == "second"
    assert len(known) == 1


def test_the_newest_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadly_requests, "MOST", 3)
    known = DeadlyRequests()
    for value in (0.0, 1.0, 2.0, 0.0, 3.0):
        known.add(deadly_request(bound([[value]]), str(value)))
    assert [known.how(bound([[value]])) for value in (0.0, 1.0, 2.0, 3.0)] == [
        "0.0", None, "2.0", "3.0",
    ]  # fmt: skip
