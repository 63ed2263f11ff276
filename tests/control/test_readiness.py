"""Why an instance is not ready, in which words; over sockets: `test_registry.py`."""

from __future__ import annotations

import msgspec

from serving.channel.messages.directory import Member, ServedModel
from serving.channel.messages.reports import GatewayStatus
from serving.control.failure_reasons import FailureReasons
from serving.control.members import MemberState
from serving.control.readiness import unready_reasons


def gateway(
    ident: str, *reasons: str, ready: bool = False, age_s: float | None = 1.0
) -> MemberState:
    status = None if age_s is None else GatewayStatus(reasons=reasons)
    return MemberState(Member("gateway", ident, 1), ready, age_s, 0, status)


def test_every_gateway_must_be_there_and_ready() -> None:
    none = FailureReasons()
    assert unready_reasons([gateway("a", ready=True)], 1, [], none) == []
    assert unready_reasons([gateway("a", ready=True)], 2, [], none) == ["1 of 2 gateways are there"]
    replica = MemberState(Member("replica", "r", 1), False, None, 0, None)
    assert unready_reasons([gateway("a", ready=True), replica], 1, [], none) == []


def test_gateways_speak_for_themselves_where_they_do() -> None:
    states = [gateway("a", "x", "y", "x"), gateway("b", "x"), gateway("c", age_s=None),
              gateway("d", "x", age_s=17.0), gateway("e")]  # fmt: skip
    assert unready_reasons(states, 5, [], FailureReasons()) == [
        "gateway c has not reported yet",
        "gateway d has not reported for 17 s",
        "gateway e is not ready",
        "gateway a, b: x",
        "gateway a: y",
    ]


def test_why_a_model_failed_is_said_where_it_explains_something(served: ServedModel) -> None:
    failures = FailureReasons()
    failures.told(served.key, "no weights")
    said = "model 'm' version 1: no weights"
    assert unready_reasons([gateway("a", ready=True)], 1, [served], failures) == []
    assert unready_reasons([gateway("a", "oh")], 1, [served], failures)[-1] == said
    told = "model 'm': no weights"
    assert unready_reasons([gateway("a", told)], 1, [served], failures) == [f"gateway a: {told}"]
    broken = msgspec.structs.replace(served, config=b"not JSON")
    assert unready_reasons([gateway("a", "oh")], 1, [broken], failures)[-1] == said
