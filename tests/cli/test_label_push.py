import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from serving.cli.client import Client
from serving.cli.label_files.rows import Row, WrongFile
from serving.cli.label_push import BATCH, PAUSES_S, Counts, LabelPush, RefusedRow
from serving.errors import VigilError


class Labels:
    """Answers pushes as an instance does that refuses the labels `refused`, in whole."""

    def __init__(self, instance: Any, session: httpx.Client, refused: Callable[[str], int]) -> None:
        self.pushes: list[list[str]] = []
        self.taken: list[str] = []
        self.failing: list[tuple[int, bytes]] = []
        self._refused = refused
        self.pauses: list[float] = []
        started = instance({})
        started.answers = self
        self.push = LabelPush(Client(started.url, session=session), "m", sleep=self.pauses.append)
        self._asked = started.asked

    def get(self, path: str, _: object) -> tuple[int, bytes]:
        assert path == "/v2/models/m/labels"
        ids = [label["id"] for label in json.loads(self._asked[-1][3])["labels"]]
        self.pushes.append(ids)
        if self.failing:
            return self.failing.pop(0)
        if status := max(map(self._refused, ids)):
            return status, b'{"error": "labels: not so"}'
        self.taken += ids
        counts = {"accepted": len(ids) - 1, "duplicate": 1, "unknown": 2, "late": 3}
        return 200, json.dumps(counts).encode()

    def send(self, *numbers: int, wrong: bool = False) -> int:
        """Push rows of these numbers; returns how often it was told of progress."""
        told = []

        def rows() -> Iterator[tuple[Row, dict[str, Any]]]:
            for number in numbers:
                row = Row(number, None, str(number), 1, None, None, {})
                yield row, {"id": str(number), "y_true": 1}
            if wrong:
                raise WrongFile("wrong")

        self.push.push(rows(), lambda: told.append(None))
        return len(told)


@pytest.fixture(scope="module")
def session() -> Iterator[httpx.Client]:
    with httpx.Client(verify=False) as made:
        yield made


@pytest.fixture
def takes(instance, session: httpx.Client) -> Callable[..., Labels]:
    """Starts an instance that takes labels; told how, it refuses some."""

    def start(refused: Callable[[str], int] = lambda _: 0) -> Labels:
        return Labels(instance, session, refused)

    return start


def test_labels_go_in_batches_and_their_counts_are_added(takes) -> None:
    labels = takes()
    told = labels.send(*range(1, 2 * BATCH + 4))
    assert [len(push) for push in labels.pushes] == [BATCH, BATCH, 3]
    assert labels.taken == [str(number) for number in range(1, 2 * BATCH + 4)]
    assert labels.push.counts == Counts(2 * BATCH, 3, 6, 9)
    assert (labels.push.rows, labels.push.last, told) == (2 * BATCH + 3, 2 * BATCH + 3, 3)


def test_no_labels_are_no_push(takes) -> None:
    labels = takes()
    labels.send()
    assert labels.pushes == []


def test_a_file_is_never_whole_in_memory(takes) -> None:
    labels = takes()
    ahead = []

    def rows() -> Iterator[tuple[Row, dict[str, Any]]]:
        for number in range(1, 5 * BATCH + 1):
            ahead.append(number - len(labels.taken))
            yield Row(number, None, "", 1, None, None, {}), {"id": str(number), "y_true": 1}

    labels.push.push(rows(), lambda: None)
    assert max(ahead) == BATCH


def test_what_comes_before_a_wrong_row_is_pushed(takes) -> None:
    labels = takes()
    with pytest.raises(WrongFile, match="wrong"):
        labels.send(1, 2, 3, wrong=True)
    assert labels.taken == ["1", "2", "3"]
    assert labels.push.last == 3


@pytest.mark.parametrize("status", [400, 413, 422])
@pytest.mark.parametrize("bad", [1, 2, 500, 501, 999, BATCH, BATCH + 1, BATCH + 7])
def test_the_first_row_that_is_refused_is_found(takes, status: int, bad: int) -> None:
    labels = takes(lambda ident: status * (int(ident) in (bad, BATCH + 9)))
    with pytest.raises(RefusedRow) as raised:
        labels.send(*range(1, BATCH + 10))
    assert raised.value.message == f"row {bad}: labels: not so"
    assert labels.taken == [str(number) for number in range(1, bad)]
    assert (labels.push.rows, labels.push.last) == (bad - 1, bad - 1)
    assert len(labels.pushes) < 25


@pytest.mark.parametrize("status", [401, 403, 404, 501])
def test_a_refusal_of_all_labels_is_not_asked_again(takes, status: int) -> None:
    labels = takes(lambda _: status)
    with pytest.raises(VigilError, match=r"^labels: not so$"):
        labels.send(1, 2)
    assert (len(labels.pushes), labels.push.last) == (1, 0)


@pytest.mark.parametrize(
    "failure",
    [(503, b'{"error": "not yet"}'), (503, b"<html>"), (429, b'{"error": "slower"}'), (502, b"")],
)
def test_what_may_pass_is_tried_again(takes, failure: tuple[int, bytes]) -> None:
    labels = takes()
    labels.failing = [failure] * 2
    labels.send(1, 2)
    assert labels.pushes == [["1", "2"]] * 3
    assert labels.pauses == list(PAUSES_S[:2])
    assert labels.push.rows == 2
    # What a proxy answers does not tell whether the labels had arrived; "not yet" tells it.
    assert labels.push.sent_again == (0 if failure[1].startswith(b"{") else 2)


def test_what_does_not_pass_ends_it(takes) -> None:
    labels = takes()
    labels.failing = [(503, b'{"error": "not yet"}')] * 100
    with pytest.raises(VigilError, match=r"^not yet \(tried 6 times\)$"):
        labels.send(1)
    assert len(labels.pushes) == 6
    assert labels.pauses == list(PAUSES_S)


def test_who_is_not_there_is_tried_again(takes, session: httpx.Client) -> None:
    labels = takes()
    labels.push.client = Client("http://127.0.0.1:1", session=session)
    with pytest.raises(VigilError, match=r"^nothing answers at .* \(tried 6 times\)$"):
        labels.send(1)
    assert labels.pauses == list(PAUSES_S)


@pytest.mark.parametrize("answer", [(200, b"[]"), (200, b'{"accepted": "x"}'), (500, b"<html>")])
def test_who_is_not_vigil_is_not_tried_again(takes, answer: tuple[int, bytes]) -> None:
    labels = takes()
    labels.failing = [answer]
    with pytest.raises(VigilError, match="is not Vigil"):
        labels.send(1)
    assert labels.pauses == []
