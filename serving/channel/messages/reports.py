"""What each role reports to the control plane, every second and after changes: a struct a role."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from serving.channel.messages.directory import ModelKey
from serving.telemetry.series import Series

REPORT: Final = "report"
Standing = Literal["READY", "LOADING", "UNAVAILABLE"]
"""How a version fares: it answers, it may yet, or it has failed."""


class CandidateStanding(msgspec.Struct, array_like=True, frozen=True):
    """How a version fares that a gateway is to prove before it answers clients.

    Attributes:
        model, version, revision: the candidate.
        state: whether the gateway has proven it.
        reason: why it has not; empty where it has.
    """

    model: str
    version: str
    revision: str
    state: Standing
    reason: str = ""

    @property
    def key(self) -> ModelKey:
        """Name, version and revision."""
        return self.model, self.version, self.revision


class UnreadyVersion(msgspec.Struct, array_like=True, frozen=True):
    """A version that should answer at a gateway and cannot, and why."""

    model: str
    version: str
    reason: str


class GatewayStatus(msgspec.Struct, frozen=True, tag_field="role", tag="gateway"):
    """What a gateway says of the models that it answers for.

    Attributes:
        generation: of the directory that it applied last; 0 before the first.
        candidates: one for each candidate of that directory.
        retiring: what still answers the requests that it had admitted.
        unready: what should answer and cannot.
        disproved: those of `unready` that have failed, as opposed to not having been tried.
        reasons: why the gateway is not ready, one sentence each.
    """

    generation: int = 0
    candidates: tuple[CandidateStanding, ...] = ()
    retiring: tuple[ModelKey, ...] = ()
    unready: tuple[UnreadyVersion, ...] = ()
    disproved: tuple[ModelKey, ...] = ()
    reasons: tuple[str, ...] = ()

    @property
    def why_unready(self) -> Mapping[tuple[str, str], str]:
        """Reasons of `unready` by name and version."""
        return {(each.model, each.version): each.reason for each in self.unready}


class ReplicaStatus(msgspec.Struct, frozen=True, tag_field="role", tag="replica"):
    """What a replica says of its work.

    Attributes:
        busy_s: seconds for which it has computed one batch without any progress; 0 when idle.
    """

    busy_s: float = 0.0


class ExplainerStatus(msgspec.Struct, frozen=True, tag_field="role", tag="explainer"):
    """What an explainer says of its work.

    Attributes:
        waiting: explanations under way.
    """

    waiting: int = 0


class EventCounts(msgspec.Struct, frozen=True):
    """Rows of predictions, as the monitor counts them.

    Attributes:
        received: what has arrived.
        lost: what gateways had sent and did not arrive.
        unwatched: those of `received` that nobody judges.
    """

    received: int = 0
    lost: int = 0
    unwatched: int = 0


class MonitorStatus(msgspec.Struct, frozen=True, tag_field="role", tag="monitor"):
    """What the monitor says beside its findings, which travel when they change.

    Attributes:
        events: what it has received.
        notes: what is not judged and why, and what drift is compared with; one sentence each.
        not_judged: those of `notes` about what is not judged.
        log: what is wrong with the prediction log, one sentence each.
    """

    events: EventCounts = EventCounts()
    notes: tuple[str, ...] = ()
    not_judged: tuple[str, ...] = ()
    log: tuple[str, ...] = ()


RoleStatus = GatewayStatus | ReplicaStatus | ExplainerStatus | MonitorStatus


class Report(msgspec.Struct, frozen=True):
    """What a role tells the control plane about itself.

    Attributes:
        ready: its own verdict.
        series: all its series, as they are now.
        status: what only roles of its kind have to say.
        told_before: sums and histograms that processes before this one have told, where a member
            goes on counting from those; in the first report of a connection only.
    """

    ready: bool
    series: tuple[Series, ...]
    status: RoleStatus
    told_before: tuple[Series, ...] | None = None


def role_of(status: RoleStatus) -> str:
    """Return the role whose processes say such a thing."""
    return str(status.__struct_config__.tag)
