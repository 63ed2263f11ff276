"""What roles report arrives as it was sent, and as what it is."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from serving.channel.messages.reports import (
    CandidateStanding,
    EventCounts,
    ExplainerStatus,
    GatewayStatus,
    MonitorStatus,
    ReplicaStatus,
    Report,
    RoleStatus,
    UnreadyVersion,
    role_of,
)
from serving.telemetry.series import Series

STATUSES: dict[str, RoleStatus] = {
    "gateway": GatewayStatus(
        7,
        (CandidateStanding("m", "2", "r2", "UNAVAILABLE", "oh"),),
        (("m", "1", "r1"),),
        (UnreadyVersion("n", "1", "no replica yet"),),
        (("n", "1", "r"),),
        ("model 'n': no replica yet",),
    ),
    "replica": ReplicaStatus(1.5),
    "explainer": ExplainerStatus(3),
    "monitor": MonitorStatus(EventCounts(5, 2, 1), ("note",), ("note",)),
}


def over_the_wire(sent: object) -> Report:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(sent), type=Report)


@pytest.mark.parametrize("role", STATUSES)
def test_every_role_has_its_own(role: str) -> None:
    report = Report(True, (Series("rows", "sum", "{row}", (), 2.0),), STATUSES[role])
    assert over_the_wire(report) == report
    assert role_of(over_the_wire(report).status) == role


@pytest.mark.parametrize(
    "status",
    [
        {},
        {"role": "emperor"},
        {"role": "gateway", "generation": "7"},
        {"role": "gateway", "candidates": [["m", "2", "r", "PERHAPS", ""]]},
        {"role": "gateway", "unready": [["m"]]},
        {"role": "replica", "busy_s": None},
    ],
)
def test_what_no_role_says_is_refused(status: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        over_the_wire({"ready": True, "series": [], "status": status})


def test_why_a_version_is_unready_is_found_by_its_name() -> None:
    status = GatewayStatus(unready=(UnreadyVersion("m", "1", "oh"), UnreadyVersion("n", "2", "ah")))
    assert status.why_unready == {("m", "1"): "oh", ("n", "2"): "ah"}
    assert CandidateStanding("m", "2", "r", "READY").key == ("m", "2", "r")
