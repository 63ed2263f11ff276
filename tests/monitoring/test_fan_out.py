from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest

from serving.channel.frame_parts import Message
from serving.channel.messages.directory import ServedModel
from serving.channel.messages.observation import (
    FAILED,
    REFUSED,
    EventMeta,
    Label,
    LabelCounts,
    LabelsMeta,
    Position,
)
from serving.config import ModelConfig
from serving.errors import ModelNotFound, Unsupported
from serving.monitoring.fan_out import FanOut, Served, read
from serving.monitoring.recorded_clock import RecordedClock
from serving.monitoring.service import MonitoringService
from serving.protocol.messages import Tensor


class Recorder:
    """A consumer that writes everything down."""

    def __init__(self, fails: bool = False) -> None:
        self.seen: list[Any] = []
        self._fails = fails

    def serve(self, models: Sequence[ServedModel]) -> None:
        self._note(("serve", [model.name for model in models]))

    def taken_in(
        self, meta: EventMeta, tensors: Sequence[Tensor], now: float, replayed: bool
    ) -> None:
        self._note((meta.position.sequence, [tensor.name for tensor in tensors], now, replayed))

    def flush(self) -> None:
        self._note("flush")

    def _note(self, what: Any) -> None:
        self.seen.append(what)
        if self._fails:
            raise RuntimeError("not now")


def served() -> Served:
    config = ModelConfig.model_validate({
        "format": "python", "factory": "net:build", "trust_code": True,
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}],
        "outputs": [{"name": "p", "datatype": "FP32", "shape": [-1, 2]}],
        "monitors": {"drift": None},
    })  # fmt: skip
    return Served((ServedModel("loans", "1", config.model_dump_json().encode(), "/nowhere"),))


def event(sequence: int, kind: str = "answered", rows: int = 1) -> EventMeta:
    position = Position("g", 1, sequence, sequence, sequence)
    return EventMeta(position, "loans", "1", 10.0, ["a"], [rows], {}, kind=kind)


SCORES = Tensor("out:p", "FP32", (1, 2), np.array([[0.1, 0.9]], np.float32))


def made(*consumers: Recorder) -> FanOut:
    clock = RecordedClock(lambda: 1000.0)
    return FanOut(MonitoringService(clock), clock, consumers)


def test_consumers_are_told_of_every_event_once_and_in_order():
    recorder = Recorder()
    fan_out = made(recorder)
    fan_out.apply(served(), (), 1.0)
    fan_out.apply(event(0), [SCORES], 2.0, replayed=True)
    fan_out.apply(event(1, FAILED), (), 3.0)
    fan_out.apply(event(0), [SCORES], 4.0)  # it was here before
    fan_out.apply(event(2, REFUSED, rows=0), (), 5.0)
    fan_out.flush()
    assert recorder.seen == [
        ("serve", ["loans"]),
        (0, ["out:p"], 2.0, True),
        (1, [], 3.0, False),
        (2, [], 5.0, False),
        "flush",
    ]


def test_a_consumer_that_fails_disturbs_nobody(caplog):
    good, bad = Recorder(), Recorder(fails=True)
    fan_out = made(bad, good)
    fan_out.apply(served(), (), 1.0)
    fan_out.apply(event(0), [SCORES], 2.0)
    fan_out.flush()
    assert good.seen == bad.seen
    assert len(good.seen) == 3
    assert fan_out.service.delivery.received.rows == 1
    assert "a consumer of predictions failed: Recorder" in caplog.messages


def test_the_judges_see_the_time_of_the_message():
    fan_out = made()
    fan_out.apply(served(), (), 1.0)
    fan_out.apply(event(0), [SCORES], 7.0)
    (watch,) = fan_out.service.watches
    assert watch.state()["freshness"]["fed"] == {"quality": 7.0}


def test_labels_are_answered_and_refused():
    fan_out = made()
    fan_out.apply(served(), (), 1.0)
    fan_out.apply(event(0), [SCORES], 2.0)
    answer = fan_out.apply(LabelsMeta("loans", [Label("a", 0, 1)]), (), 3.0)
    assert answer == LabelCounts(accepted=1)
    with pytest.raises(ModelNotFound):
        fan_out.apply(LabelsMeta("cats", []), (), 4.0)


def test_what_tells_nothing_is_not_taken_in():
    with pytest.raises(Unsupported, match="report"):
        read(Message("report", 0, msgspec.Raw(b""), []))
