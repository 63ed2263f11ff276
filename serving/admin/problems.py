"""What is wrong with an instance, for the console: one sentence each, critical ones first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal

import msgspec

from serving.admin.model_rows import ModelRow
from serving.channel.messages.directory import Directory
from serving.channel.messages.findings import FindingRecord
from serving.channel.messages.reports import MonitorStatus
from serving.control.members import MemberState
from serving.telemetry.metrics.events import EVENTS_DROPPED
from serving.telemetry.metrics.findings import QUALITY_VIOLATIONS
from serving.telemetry.metrics.models import REPLICA_RESTARTS
from serving.telemetry.metrics.process import TELEMETRY_EXPORT_FAILURES
from serving.telemetry.series import Series

ERROR_RATE_WARNING: Final = 0.01
"""Share of requests failed by the server over the last minute that is shown as a problem."""

_TROUBLE: Final = {
    EVENTS_DROPPED.name: "prediction events were dropped: monitors see less than was served",
    TELEMETRY_EXPORT_FAILURES.name: "exports of metrics to the OTLP collector failed",
    REPLICA_RESTARTS.name: "replicas died and came back",
}
"""Totals whose growth during the last minute is a problem."""


class Problem(msgspec.Struct, frozen=True):
    """Something that is wrong; what is critical keeps clients from being answered."""

    level: Literal["critical", "warning"]
    text: str


def problems(
    reasons: Sequence[str],
    directory: Directory,
    states: Sequence[MemberState],
    models: Sequence[ModelRow],
    findings: Sequence[FindingRecord],
    recent: Sequence[Series],
) -> list[Problem]:
    """Return everything that is wrong.

    Args:
        reasons: why the instance is not ready.
        directory: what should be served.
        states: every member.
        models: how each version fares.
        findings: what monitors found.
        recent: by how much totals grew over the last minute.
    """
    critical = list(reasons)
    warnings = [
        *_unserved(directory),
        *_log(states),
        *(
            f"{state.member.role} {state.member.id} is not ready"
            for state in states
            if not state.ready and state.member.role != "gateway"
        ),
    ]
    for model in models:
        grave = model.state == "down" and model.required
        (critical if grave else warnings).extend(_replicas(model))
        warnings.extend(_errors(model))
    warnings += (*_breaches(findings), *_non_finite(recent), *_trouble(recent))
    return [
        *(Problem("critical", text) for text in critical),
        *(Problem("warning", text) for text in warnings),
    ]


def _log(states: Sequence[MemberState]) -> Iterator[str]:
    """Say what is wrong with the prediction log; where several monitors write it, which one."""
    logs = {
        state.member.id: state.status.log
        for state in states
        if isinstance(state.status, MonitorStatus)
    }
    for ident, sentences in logs.items():
        yield from (f"{ident}: {each}" if len(logs) > 1 else each for each in sentences)


def _replicas(model: ModelRow) -> Iterator[str]:
    if model.state != "ready":
        yield (
            f"model {model.name} version {model.version} has {model.replicas_ready} of "
            f"{model.replicas_wanted} replicas ready"
        )


def _errors(model: ModelRow) -> Iterator[str]:
    if model.error_rate is not None and model.error_rate >= ERROR_RATE_WARNING:
        yield (
            f"model {model.name} version {model.version}: {model.error_rate:.1%} of requests "
            "failed by the server during the last minute"
        )


def _trouble(recent: Sequence[Series]) -> Iterator[str]:
    for name, sentence in _TROUBLE.items():
        amount = sum(item.value for item in recent if item.name == name)
        if amount:
            yield f"{sentence} ({amount:.0f} during the last minute)"


def _non_finite(recent: Iterable[Series]) -> Iterator[str]:
    """Say which models answered with no numbers during the last minute."""
    for item in recent:
        if item.name == QUALITY_VIOLATIONS.name and item.value:
            of = dict(item.attributes)
            yield (
                f"model {of['model']} version {of['version']}: output '{of['output']}' was NaN or "
                f"infinite in {item.value:.0f} rows during the last minute"
            )


def _unserved(directory: Directory) -> Iterator[str]:
    """What cannot be served and is not among the reasons why the instance is not ready."""
    missing = directory.missing
    for broken in directory.broken:
        if broken.sentence not in missing:
            yield f"cannot serve {broken.sentence}"


def _breaches(findings: Iterable[FindingRecord]) -> Iterator[str]:
    """Say one sentence per model and monitor: drift in one feature often comes with more."""
    groups: dict[tuple[str, str, str], list[FindingRecord]] = {}
    for found in findings:
        if found.breached:
            groups.setdefault((found.monitor, found.model, found.version), []).append(found)
    for (monitor, model, version), (first, *others) in groups.items():
        subject = f" of {first.subject}" if first.subject else ""
        subject += f" where {first.segment}" if first.segment else ""
        more = f", and {len(others)} more" if others else ""
        yield (
            f"{monitor} in model {model} version {version}: {first.metric}{subject} is "
            f"{_number(first.value)}, {_judged_by(first)}{more}"
        )


def _judged_by(found: FindingRecord) -> str:
    if found.threshold is None:
        return f"p {_number(found.p_value)}"
    return f"{found.direction} {_number(found.threshold)}"


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3g}"
