"""How one incident changes: pure functions from what it was to what it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from msgspec.structs import replace

from serving.channel.messages.causes import Cause
from serving.channel.messages.findings import FindingRecord
from serving.channel.messages.incidents import (
    Action,
    Evidence,
    Happening,
    Incident,
    Measured,
    Severity,
    State,
)
from serving.config import Incidents
from serving.errors import InvalidInput
from serving.incidents.evidence import window_end
from serving.incidents.ladder import rank

MOST_HISTORY: Final = 50
_BECOMES: Final[dict[Action, State]] = {
    "acknowledge": "acknowledged", "resolve": "resolved", "false_alarm": "false_alarm",
}  # fmt: skip


def happened(incident: Incident, at: float, what: str, note: str = "") -> Incident:
    """Return an incident with a line more in its history; the first one always stays."""
    history = (*incident.history, Happening(at, what, note))
    if len(history) > MOST_HISTORY:
        history = (history[0], *history[-MOST_HISTORY + 1 :])
    return replace(incident, history=history)


def breached_again(
    incident: Incident, evidence: Evidence, seen: float, now: float, summary: str, advice: str
) -> Incident:
    """Return an incident whose cause has breached once more."""
    return replace(
        incident,
        version=evidence.leading.version or incident.version,
        evidence=replace(
            evidence,
            since=min(evidence.since, incident.evidence.since),
            cause=incident.evidence.cause,
        ),
        summary=summary,
        advice=advice,
        updated_at=now,
        seen=max(incident.seen, seen),
        quiet_windows=0,
        quiet_since=None,
        quiet_mark="",
    )


def explained(incident: Incident, cause: Cause, *, news: bool) -> Incident:
    """Return an incident of which it is known what its rows tell of the cause.

    Args:
        incident: as it was.
        cause: what they tell.
        news: whether its history should say so.
    """
    told = replace(incident, evidence=replace(incident.evidence, cause=cause))
    return happened(told, cause.at, "explained", cause.summary) if news else told


def raised(
    incident: Incident, severity: Severity, demoted_from: Severity | Literal[""], now: float
) -> Incident:
    """Return an incident that is worse than it was; as it is where it is not."""
    if rank(severity) <= rank(incident.severity):
        return incident
    worse = replace(incident, severity=severity, demoted_from=demoted_from)
    return happened(worse, now, "escalated", f"from {incident.severity} to {severity}")


def quiet(incident: Incident, findings: Sequence[FindingRecord], now: float) -> Incident:
    """Return an incident as it is after findings none of which has breached."""
    mine = {_measures(each) for each in (incident.evidence.leading, *incident.evidence.top)}
    if any(each.breached is None and _measures(each) in mine for each in findings):
        return incident  # what has breached is unknown, however well the others do
    known = [each for each in findings if each.breached is False]
    if not known:  # nobody knows whether it is over
        return incident
    latest = max(known, key=window_end)
    mark = latest.window_id or f"{window_end(latest):.3f}"
    if mark == incident.quiet_mark:
        return incident
    return replace(
        incident,
        quiet_mark=mark,
        quiet_windows=incident.quiet_windows + 1,
        quiet_since=now if incident.quiet_since is None else incident.quiet_since,
        seen=max(incident.seen, window_end(latest)),
    )


def _measures(each: Measured | FindingRecord) -> tuple[str, str, str, str]:
    """Return what is measured, whatever the value."""
    return each.metric, each.subject, each.segment, each.version


def is_over(incident: Incident, rules: Incidents, now: float) -> bool:
    """Whether there was no breach for as long as the model's rules want."""
    since = incident.quiet_since
    return (
        since is not None
        and incident.quiet_windows >= rules.quiet_windows
        and now - since >= rules.quiet_s
    )


def closed(incident: Incident, now: float, note: str) -> Incident:
    """Return an incident that has come to its end by itself."""
    over = replace(incident, state="resolved", closed_at=now, settled=True)
    return happened(over, now, "resolved", note)


def reopened(incident: Incident, now: float, note: str) -> Incident:
    """Return an incident that is not over after all."""
    back = replace(
        incident, state="open", closed_at=None, settled=False, reopened=incident.reopened + 1
    )
    return happened(back, now, "reopened", note)


def acted(incident: Incident, action: Action, note: str, now: float) -> Incident:
    """Return an incident after what somebody did with it; the same one where that changes nothing.

    Raises:
        InvalidInput: it is over, and so cannot be acknowledged.
    """
    state = _BECOMES[action]
    if incident.state == state:
        return incident
    if action == "acknowledge" and not incident.active:
        raise InvalidInput(
            f"incident '{incident.id}' is over ({incident.state}) and needs no acknowledgement"
        )
    done = replace(incident, state=state)
    if incident.active and state not in ("open", "acknowledged"):
        done = replace(done, closed_at=now, settled=False)
    return happened(done, now, state, note)
