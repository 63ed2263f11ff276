"""What the console says of one version: its state, its replicas and its last minute."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from serving.admin.model_rows import ModelRow, model_row
from serving.channel.messages.directory import Member, RoleName, ServedModel
from serving.channel.messages.reports import ReplicaStatus
from serving.config.encoded import decode_config
from serving.control.members import MemberState
from serving.telemetry.counters import SeriesSet
from serving.telemetry.metrics.inference import INFERENCE_DURATION, INFERENCE_REQUESTS, QUEUE_ROWS
from serving.telemetry.metrics.models import MODEL_READY, REPLICA_SLOTS_TOTAL, REPLICA_SLOTS_USED

OURS = {"model": "m", "version": "1"}
OTHERS = ({"model": "m", "version": "2"}, {"model": "n", "version": "1"})
MINUTE_S = 60.0


def replica(
    *, ready: bool = True, role: RoleName = "replica", model: str = "m", version: str = "1"
) -> MemberState:
    member = Member(role, f"{role}-{model}-{version}", 1, model=model, version=version)
    return MemberState(member, ready, 0.0, 0, ReplicaStatus())


def answers(value: int = 1) -> SeriesSet:
    now = SeriesSet()
    now.gauge(MODEL_READY, **OURS, wanted="yes").set(value)
    return now


@pytest.fixture
def two_wanted(served: ServedModel) -> ServedModel:
    config = decode_config(served.config)
    changed = {"replicas": config.replicas.model_copy(update={"min": 2}), "required": False}
    encoded = config.model_copy(update=changed).model_dump_json().encode()
    return msgspec.structs.replace(served, config=encoded)


def row(model: ServedModel, states: Sequence[MemberState] = (), **given: Any) -> ModelRow:
    now, recent = given.get("now", answers()), given.get("recent", SeriesSet())
    seconds, explainer = given.get("seconds", MINUTE_S), given.get("explainer")
    return model_row(model, states, now.snapshot(), recent.snapshot(), seconds, explainer)


@pytest.mark.parametrize(
    ("ready", "state"), [(3, "ready"), (2, "ready"), (1, "degraded"), (0, "degraded")]
)
def test_a_version_that_answers_is_ready_with_all_its_replicas(
    two_wanted: ServedModel, ready: int, state: str
) -> None:
    states = [replica()] * ready + [replica(ready=False)] * 3
    found = row(two_wanted, states)
    assert (found.state, found.replicas_ready, found.replicas_wanted) == (state, ready, 2)


@pytest.mark.parametrize("now", [answers(0), SeriesSet()], ids=["not ready", "not known"])
def test_replicas_of_a_version_that_answers_nobody_are_of_no_use(
    two_wanted: ServedModel, now: SeriesSet
) -> None:
    for other in OTHERS:
        now.gauge(MODEL_READY, **other, wanted="yes").set(1)
    found = row(two_wanted, [replica()] * 2, now=now)
    assert (found.state, found.replicas_ready, found.replicas_wanted) == ("down", 0, 2)


def test_only_replicas_of_the_version_count(two_wanted: ServedModel) -> None:
    others = [
        replica(role="explainer"),
        replica(role="gateway", model="", version=""),
        *(replica(**other) for other in OTHERS),
    ]
    found = row(two_wanted, [*others, replica()])
    assert (found.state, found.replicas_ready) == ("degraded", 1)


@pytest.mark.parametrize(
    ("outcome", "rate"),
    [
        ("ok", 0), ("invalid", 0), ("rejected", 0), ("abandoned", 0),
        ("overloaded", 0.25), ("deadline", 0.25), ("unavailable", 0.25), ("failed", 0.25),
    ],
)  # fmt: skip
def test_only_what_is_the_servers_fault_is_an_error(
    served: ServedModel, outcome: str, rate: float
) -> None:
    recent = SeriesSet()
    recent.sum(INFERENCE_REQUESTS, **OURS, outcome="ok").add(90)
    recent.sum(INFERENCE_REQUESTS, **OURS, outcome=outcome).add(30)
    for other in OTHERS:
        recent.sum(INFERENCE_REQUESTS, **other, outcome="failed").add(7)
    found = row(served, recent=recent)
    assert found.error_rate == rate
    assert found.requests_per_s == 2


def test_without_requests_there_is_no_error_rate_and_no_latency(served: ServedModel) -> None:
    recent = SeriesSet()
    for other in OTHERS:
        recent.sum(INFERENCE_REQUESTS, **other, outcome="failed").add(7)
        recent.histogram(INFERENCE_DURATION, **other, outcome="ok").record(0.2)
    recent.sum(INFERENCE_REQUESTS, **OURS, outcome="failed").add(0)
    recent.histogram(INFERENCE_DURATION, **OURS, outcome="ok")
    found = row(served, recent=recent)
    assert (found.error_rate, found.p50_s, found.p99_s) == (None, None, None)
    assert found.requests_per_s == 0


def test_before_the_second_sample_there_is_no_rate(served: ServedModel) -> None:
    assert row(served, seconds=0.0).requests_per_s is None


def test_latency_is_that_of_all_outcomes(served: ServedModel) -> None:
    recent = SeriesSet()
    for _ in range(50):
        recent.histogram(INFERENCE_DURATION, **OURS, outcome="ok").record(0.001)
        recent.histogram(INFERENCE_DURATION, **OURS, outcome="deadline").record(2.0)
    found = row(served, recent=recent)
    assert found.p50_s is not None
    assert found.p99_s is not None
    assert found.p50_s < 0.002 < 1 < found.p99_s


def test_what_waits_and_what_is_in_use_is_that_of_the_version(served: ServedModel) -> None:
    now = answers()
    metrics = (REPLICA_SLOTS_USED, REPLICA_SLOTS_TOTAL, QUEUE_ROWS)
    for value, metric in enumerate(metrics, start=1):
        now.gauge(metric, **OURS).set(value)
        for other in OTHERS:
            now.gauge(metric, **other).set(100)
    found = row(served, now=now)
    assert (found.slots_used, found.slots_total, found.queue_rows) == (1, 2, 3)


@pytest.mark.parametrize("explainer", [None, "starting"])
def test_what_is_asked_and_configured_is_told(
    two_wanted: ServedModel, served: ServedModel, explainer: str | None
) -> None:
    found = row(two_wanted, explainer=explainer)
    assert (found.name, found.version, found.explainer) == ("m", "1", explainer)
    assert [row(each).required for each in (served, two_wanted)] == [True, False]
