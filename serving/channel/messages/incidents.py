"""Incidents: what people handle of what monitors found, and what is asked and ordered about them.

Kind `incidents` (request, gateway to control plane): `IncidentQuery`; `incident` (request):
`IncidentOrder`. Both are answered with JSON for clients, as bytes.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from serving.channel.messages.causes import Cause

INCIDENTS: Final = "incidents"
INCIDENT: Final = "incident"

State = Literal["open", "acknowledged", "resolved", "false_alarm"]
STATES: Final[tuple[State, ...]] = ("open", "acknowledged", "resolved", "false_alarm")
ACTIVE: Final[tuple[State, ...]] = ("open", "acknowledged")
Severity = Literal["info", "ticket", "page"]
SEVERITIES: Final[tuple[Severity, ...]] = ("info", "ticket", "page")
"""From what may be looked up to what wakes somebody."""
Action = Literal["acknowledge", "resolve", "false_alarm"]
ACTIONS: Final[tuple[Action, ...]] = ("acknowledge", "resolve", "false_alarm")
MOST_NOTE: Final = 1000
MOST_LISTED: Final = 1000


class Measured(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One measurement that has breached; see `FindingRecord`, whose attributes these are."""

    metric: str
    subject: str = ""
    segment: str = ""
    version: str = ""
    value: float | None = None
    threshold: float | None = None
    direction: Literal["above", "below"] = "above"
    ci: tuple[float | None, float | None] | None = None
    p_value: float | None = None
    n_reference: int = 0
    n_current: int = 0
    window: tuple[float | None, float | None] = (None, None)
    window_id: str = ""
    detail: dict[str, Any] = {}


class LastDeployment(msgspec.Struct, frozen=True):
    """The last change of what is served of a model.

    Attributes:
        version: what was new.
        at: when, in seconds since the epoch.
        before: the version that was new before that; empty where none is known.
    """

    version: str
    at: float
    before: str = ""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What an incident stands on.

    Attributes:
        leading: the measurement that says most.
        since: seconds since the epoch from which on it has probably been so.
        breached: how many measurements have breached.
        top: those that say most, the leading one first.
        deployment: the model's last one before that; None: not known.
        reason: of what is unknown: why.
        cause: what the rows tell of it, which comes later than the rest; None: not yet.
    """

    leading: Measured
    since: float
    breached: int = 1
    top: tuple[Measured, ...] = ()
    deployment: LastDeployment | None = None
    reason: str = ""
    cause: Cause | None = None


class Happening(msgspec.Struct, frozen=True):
    """A line in the history of an incident.

    Attributes:
        at: seconds since the epoch.
        what: `opened`, `spread`, `escalated`, `explained`, `reopened`, `acknowledged`,
            `resolved`, `false_alarm`.
        note: who did it says so, or why it happened by itself.
    """

    at: float
    what: str
    note: str = ""


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is wrong with a model, for one cause, from when it was found until it is over.

    Attributes:
        id: eight letters and digits.
        model: empty where it is about the instance.
        version: that was judged last.
        cause: what tells it from other incidents of the model.
        monitor, metric: the rule that has opened it.
        severity: how bad it is; it only grows.
        demoted_from: what it would be, if its rule had not called wolf so often; empty: it is.
        state: open, acknowledged, or over.
        opened_at, updated_at, closed_at: seconds since the epoch; updated when it breached last.
        summary: what is wrong, in one sentence.
        advice: what to do, in one sentence.
        first, evidence: what it stood on when it was opened, and what it stands on since.
        quiet_windows, quiet_since: windows without a breach since the last one, and since when.
        quiet_mark: tells the latest of them from the next.
        seen: end of the latest window that was taken into account.
        settled: of one that is over: whether there was no breach any more afterwards.
        reopened: how often it came back soon after it was over.
        history: oldest first, of which only the latest 50 are kept.
    """

    id: str
    model: str
    version: str
    cause: str
    monitor: str
    metric: str
    severity: Severity
    state: State
    opened_at: float
    updated_at: float
    summary: str
    advice: str
    first: Evidence
    evidence: Evidence
    closed_at: float | None = None
    demoted_from: Severity | Literal[""] = ""
    quiet_windows: int = 0
    quiet_since: float | None = None
    quiet_mark: str = ""
    seen: float = 0.0
    settled: bool = False
    reopened: int = 0
    history: tuple[Happening, ...] = ()

    @property
    def active(self) -> bool:
        """Whether it is not over."""
        return self.state in ACTIVE

    @property
    def key(self) -> tuple[str, str]:
        """What there is at most one active incident of."""
        return self.model, self.cause

    @property
    def rule(self) -> tuple[str, str, str]:
        """What has opened it."""
        return self.model, self.monitor, self.metric


class Unknown(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict that is not known; see `serving.store.records.WatchState`.

    Attributes:
        ticket_at: when it becomes a ticket, seconds since the epoch; None: it does not.
    """

    model: str
    cause: str
    kind: str
    since: float
    why: str
    ticket_at: float | None


class Demoted(msgspec.Struct, frozen=True, kw_only=True):
    """A rule whose incidents are of a lower severity, because too many were false alarms."""

    model: str
    monitor: str
    metric: str
    steps: int
    false_alarms: int
    incidents: int
    budget: float


class IncidentList(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to `IncidentQuery`.

    Attributes:
        incidents: those that are not over first, the worst first; then the newest first.
        unknown: verdicts that are not known now.
        demoted: rules that are.
        notes: what is wrong with the store and with receivers, one sentence each.
    """

    incidents: tuple[Incident, ...]
    unknown: tuple[Unknown, ...] = ()
    demoted: tuple[Demoted, ...] = ()
    notes: tuple[str, ...] = ()


class IncidentQuery(msgspec.Struct, frozen=True):
    """Which incidents are wanted.

    Attributes:
        states: any of these; empty: all.
        model: of this one; empty: of all.
        limit: how many at most.
    """

    states: tuple[State, ...] = ()
    model: str = ""
    limit: int = 100


class IncidentOrder(msgspec.Struct, frozen=True):
    """What is to be done with an incident.

    Attributes:
        id: which one.
        action: None: it is only asked for.
        note: why, for the history.
    """

    id: str
    action: Action | None = None
    note: str = ""
