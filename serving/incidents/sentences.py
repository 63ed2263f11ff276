"""What people are told of an incident: what is wrong, and what to do, in a sentence each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from serving.channel.messages.findings import FindingRecord
from serving.channel.messages.incidents import Evidence, Measured

RECENT_S: Final = 86_400.0
"""A deployment that was so long before is worth naming as what may be behind it."""
_ADVICE: Final = {
    "drift": "look at the columns named first (`vigil findings {model}`); if inputs have changed "
    "for good, retrain, or make a new profile (`vigil profile {model}`)",
    "quality": "look at what callers send and what the model answers (`vigil predictions {model}`)",
    "data_quality": "look at what callers send, and at what has changed upstream of them "
    "(`vigil findings {model}`)",
    "performance": "look at the rows that were wrong (`vigil predictions {model}`), and compare "
    "with the version before",
    "estimation": "see whether inputs have drifted (`vigil findings {model}`), and label the rows "
    "that tell most (`vigil labels wanted {model}`)",
    "fairness": "look at the groups' figures (`vigil findings {model}`) with who answers for the "
    "model's decisions",
    "guard_rate": "look at what the guard flags (`vigil predictions {model}`): inputs have "
    "changed, or it needs a new profile (`vigil profile {model}`); one that flags nothing guards "
    "nothing",
}
_OTHERWISE: Final = "look at `vigil findings {model}`"
_BACK: Final = "version {version} was deployed {ago} before: consider going back to {before}"


def summary(model: str, monitor: str, evidence: Evidence) -> str:
    """Say what is wrong with a model."""
    leading = evidence.leading
    whose = f"model '{model}'" + (f" version {leading.version}" if leading.version else "")
    more = evidence.breached - 1
    others = f", and {more} more" if more > 0 else ""
    return f"{monitor} of {whose}: {measurement(leading)}{others}"


def advice(model: str, monitor: str, evidence: Evidence) -> str:
    """Say what to do about it."""
    said = _ADVICE.get(monitor, _OTHERWISE).format(model=model)
    deployment = evidence.deployment
    if deployment is None or not deployment.before:
        return said
    seconds = evidence.since - deployment.at
    if not 0 <= seconds <= RECENT_S:
        return said
    back = _BACK.format(version=deployment.version, ago=ago(seconds), before=deployment.before)
    return f"{back}; else {said}"


def measurement(one: Measured) -> str:
    """Say what was measured, and on which side of what it should not be."""
    about = f" of '{one.subject}'" if one.subject else ""
    part = f" where {one.segment}" if one.segment else ""
    limit = "" if one.threshold is None else f", {one.direction} {number(one.threshold)}"
    moved = one.detail.get("moved")
    how = f" ({moved} has moved)" if isinstance(moved, str) else ""
    return f"{one.metric}{about}{part} is {number(one.value)}{limit}{how}"


def how_sure(one: Measured) -> str:
    """Say on how much a measurement rests; empty where nothing is known of that."""
    parts = []
    if one.ci is not None:
        parts.append(f"interval {number(one.ci[0])} to {number(one.ci[1])}")
    if one.p_value is not None:
        parts.append(f"p = {one.p_value:.2g}")
    if one.n_current:
        parts.append(f"{one.n_current} rows")
    return ", ".join(parts)


def unknown_summary(model: str, cause: str, kind: str, why: str, seconds: float) -> str:
    """Say what is not known, and for how long that is so."""
    for_so_long = ago(seconds)
    if kind == "away":
        return f"{cause} has been away for {for_so_long}: {why}"
    what = "cannot be judged" if kind == "blind" else "has been unknown"
    return f"{cause} of model '{model}' {what} for {for_so_long}: {why}"


def unknown_advice(model: str, kind: str) -> str:
    """Say what to do about it."""
    if kind == "away":
        return "look why the process ends or hangs (`vigil status`, and the log)"
    if kind == "blind":
        return f"do what the reason says; `vigil findings {model}` has all of them"
    return (
        f"see whether rows and labels still come (`vigil findings {model}`); resolve it if nobody "
        "uses the model any more"
    )


def names(findings: Sequence[FindingRecord]) -> str:
    """Return the subjects of findings, the first ones by name."""
    subjects = list(dict.fromkeys(each.subject for each in findings if each.subject))
    shown = ", ".join(f"'{name}'" for name in subjects[:3])
    return shown + (f" and {len(subjects) - 3} more" if len(subjects) > 3 else "")


def number(value: float | None) -> str:
    """Return a number as people read it."""
    return "unknown" if value is None else f"{value:.3g}"


def ago(seconds: float) -> str:
    """Return a span of time in its largest unit of which there are two."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def moment(at: float) -> str:
    """Return a time as people read it, in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
