"""Of all that is handed over it is known whether it was sent, dropped, or waits."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence

import pytest

from serving.telemetry.exporting import ExporterEnd
from serving.telemetry.outgoing import Counted, Outgoing, Reason, Subject, positive


class Exporter:
    def shutdown(self) -> None:
        pass


class Kept:
    """What an `Outgoing` counts and tells."""

    def __init__(self, most: int = 4) -> None:
        self.sent = 0
        self.why: Counter[Reason] = Counter()
        self.told: list[str] = []
        subject = Subject("exports of hats", "hats", "hats are burnt")
        self.outgoing = Outgoing(
            Exporter(), most, subject, self._sent, self._dropped, lambda said, _: self._tell(said)
        )

    def _sent(self, count: int) -> None:
        self.sent += count

    def _dropped(self, count: int, why: Reason) -> None:
        self.why[why] += count

    @property
    def dropped(self) -> int:
        return self.why.total()

    def _tell(self, said: str) -> None:
        self.told.append(said)
        self.outgoing.admits()  # a line about lines is one itself

    def add(self, count: int) -> int:
        return sum(self.outgoing.admits() for _ in range(count))


def works() -> bool:
    return True


def fails() -> bool:
    return False


def test_no_more_wait_than_may_and_that_is_told_once() -> None:
    kept = Kept()
    assert kept.add(6) == 4
    kept.outgoing.tell()
    kept.outgoing.tell()
    assert kept.told == ["more hats wait for the collector than may; hats are burnt"]
    assert kept.why == {"queue_full": 3}
    assert kept.outgoing.export(1, works)
    assert kept.add(2) == 1
    kept.outgoing.tell()
    assert len(kept.told) == 1  # it has not caught up yet
    assert kept.outgoing.export(3, works)
    assert kept.add(4) == 3
    kept.outgoing.tell()
    assert len(kept.told) == 2


def test_failures_are_told_once_and_that_they_are_over() -> None:
    kept = Kept(100)
    kept.add(5)
    for send in (works, fails, fails, works):
        kept.outgoing.export(1, send)
    assert kept.told == ["exports of hats fail; hats are burnt", "exports of hats work again"]
    assert (kept.sent, kept.why) == (2, {"not_exported": 2})


def test_what_raises_has_failed() -> None:
    kept = Kept()
    kept.add(1)
    assert not kept.outgoing.export(1, lambda: bool(1 / 0))
    assert kept.dropped == 1


def test_what_is_left_at_the_end_is_counted_and_told() -> None:
    kept = Kept(100)
    kept.add(10)
    going_on, ends = threading.Event(), threading.Event()

    def hangs() -> bool:
        going_on.set()
        ends.wait(60)
        return True

    def export() -> None:
        kept.outgoing.export(3, hangs)

    sending = threading.Thread(target=export)
    sending.start()
    assert going_on.wait(60)
    kept.outgoing.stop(0.01, lambda: ends.wait(60))
    told, dropped = list(kept.told), kept.dropped
    assert (kept.sent, kept.why) == (0, {"not_exported": 10, "stopped": 1})  # and the line about it
    assert told == ["10 hats could not be sent before the end; hats are burnt"]
    ends.set()
    sending.join(60)
    assert (kept.sent, kept.dropped, kept.told) == (0, dropped, told)


def test_what_fails_while_it_ends_is_told_as_well() -> None:
    kept = Kept()
    kept.add(2)
    kept.outgoing.end.cut_short()  # so that changes are not told any more
    kept.outgoing.stop(60, lambda: kept.outgoing.export(2, fails))
    assert kept.told == ["2 hats could not be sent before the end; hats are burnt"]


def test_what_comes_after_the_end_has_begun_is_no_overflow() -> None:
    kept = Kept()
    kept.add(4)  # no more may wait
    ending, ends = threading.Event(), threading.Event()

    def shutdown() -> None:
        ending.set()
        ends.wait(60)
        kept.outgoing.export(4, works)

    stopping = threading.Thread(target=kept.outgoing.stop, args=[120, shutdown])
    stopping.start()
    assert ending.wait(60)
    assert kept.add(2) == 0
    kept.outgoing.tell()
    ends.set()
    stopping.join(60)
    assert kept.add(1) == 0
    kept.outgoing.tell()
    assert (kept.sent, kept.why, kept.told) == (4, {"stopped": 3}, [])


class Sends(Exporter):
    """Writes down what it is to send, and does what it is told."""

    def __init__(self) -> None:
        self.sent: list[int] = []
        self.works = True
        self.ended = 0

    def export(self, batch: Sequence[int], /) -> str:
        self.sent += batch
        return "taken" if self.works else "lost"

    def shutdown(self) -> None:
        self.ended += 1


def test_what_an_exporter_does_is_counted() -> None:
    kept, sends = Kept(), Sends()
    kept.outgoing.end = ExporterEnd(sends)
    counted = Counted(sends, kept.outgoing, "taken", "lost")
    kept.add(3)
    assert counted.export([1, 2]) == "taken"
    sends.works = False
    assert counted.export([3]) == "lost"
    assert (sends.sent, kept.sent, kept.why) == ([1, 2, 3], 2, {"not_exported": 1})
    assert counted.force_flush()
    counted.shutdown()
    counted.shutdown()
    assert sends.ended == 1


@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5", "\u0663"])
def test_a_variable_that_is_no_number_is_told(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    told: list[str] = []
    monkeypatch.setenv("OTEL_X", text)
    assert positive("OTEL_X", 7, told.append) == 7
    assert told == [f"OTEL_X is '{text}', which is ignored: it must be a whole number, 1 or more"]


@pytest.mark.parametrize(("text", "value"), [("", 7), (" 12 ", 12)])
def test_a_variable_that_is_one(monkeypatch: pytest.MonkeyPatch, text: str, value: int) -> None:
    monkeypatch.setenv("OTEL_X", text)
    assert positive("OTEL_X", 7, lambda said: pytest.fail(said)) == value
