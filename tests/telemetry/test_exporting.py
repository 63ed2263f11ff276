"""How exporters end, what is told of them once, and why there may be none."""

from __future__ import annotations

import threading

import pytest

from serving.telemetry.exporting import ExporterEnd, stop_within, why_unmade


class Exporter:
    def __init__(self) -> None:
        self.ended = threading.Event()
        self.ends = 0

    def shutdown(self) -> None:
        self.ends += 1
        self.ended.set()


def test_changes_are_told_once_and_none_after_the_end() -> None:
    end = ExporterEnd(Exporter())
    told = [end.changed(failed=failed) for failed in (False, True, True, False, True)]
    assert told == [False, True, False, True, True]
    end.cut_short()
    assert not end.changed(failed=False)


def test_it_ends_once() -> None:
    exporter = Exporter()
    end = ExporterEnd(exporter)
    end.cut_short()
    end.cut_short()
    assert exporter.ends == 1


def test_one_that_does_not_end_by_itself_is_cut_short() -> None:
    exporter = Exporter()
    stop_within(0.03, lambda: exporter.ended.wait(60), ExporterEnd(exporter))
    assert exporter.ends == 1


def test_one_that_fails_already_is_not_waited_for() -> None:
    exporter = Exporter()
    end = ExporterEnd(exporter)
    assert end.patience_s(60) == 60
    end.changed(failed=True)
    stop_within(60, lambda: exporter.ended.wait(30), end)
    assert exporter.ends == 1
    end.changed(failed=False)
    assert end.patience_s(0.1) == 0.1


def test_one_that_ends_by_itself_is_not() -> None:
    exporter = Exporter()
    stop_within(60, lambda: None, ExporterEnd(exporter))
    assert exporter.ends == 0


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ImportError("no grpc"), "nothing goes: `a.b.protocol: grpc` needs a package that is not"),
        (ValueError("odd"), "nothing goes: the exporter cannot be made: odd"),
    ],
)
def test_why_there_is_none(error: Exception, said: str) -> None:
    assert why_unmade(error, "nothing goes", "the exporter", "a.b").startswith(said)
