"""What the console shows, as plain JSON values: what is wrong comes first."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from serving.channel.messages.directory import ServedModel
from serving.channel.messages.findings import FindingRecord
from serving.channel.messages.reports import MonitorStatus
from serving.control.history import History, pool, quantile
from serving.control.members import MemberState
from serving.control.registry import Hub
from serving.control.served_model import config_of
from serving.telemetry import names
from serving.telemetry.metric import Metric
from serving.telemetry.series import Series

ERROR_RATE_WARNING: Final = 0.01
"""Share of requests failed by the server over the last minute that is shown as a problem."""

_TROUBLE: Final = {
    names.EVENTS_DROPPED.name: "prediction events were dropped: monitors see less than was served",
    names.STORE_ERRORS.name: "writes to the store failed",
    names.TELEMETRY_EXPORT_FAILURES.name: "exports of metrics to the OTLP collector failed",
    names.REPLICA_RESTARTS.name: "replicas died and came back",
}
"""Totals whose growth during the last minute is a problem."""


def console_data(hub: Hub, history: History) -> dict[str, Any]:
    """Return the whole page's content.

    Args:
        hub: the instance.
        history: samples of `hub.aggregate()`, taken every few seconds.
    """
    ready, reasons = hub.ready()
    now = hub.aggregate()
    recent = history.increase()
    states = hub.states()
    monitors = [each.status for each in states if isinstance(each.status, MonitorStatus)]
    models = [
        {
            **_model(model, states, now, recent, history.seconds),
            "explainer": hub.explainer_state(model),
        }
        for model in hub.directory.models
    ]
    findings = _in_order(hub.findings())
    return {
        "ready": ready,
        "problems": _problems(reasons, states, models, findings, recent, _unserved(hub)),
        "models": models,
        "findings": findings,
        "notes": [note for status in monitors for note in status.notes],
        "not_judged": [note for status in monitors for note in status.not_judged],
        "guards": _guards(now, recent),
        "members": [_member(state) for state in states],
        "window_s": history.seconds,
        "started_s": hub.started_ns / 1e9,
        "now_s": time.time(),
    }


def _model(
    model: ServedModel,
    states: list[MemberState],
    now: list[Series],
    recent: list[Series],
    seconds: float,
) -> dict[str, Any]:
    config = config_of(model)
    replicas = [state for state in states if _serves(state, model)]
    mine = _of_model(model.name, model.version)
    # A replica may run and be of no use: its upstream is gone, or no gateway reaches it.
    answers = any(item.value for item in now if mine(item, names.MODEL_READY))
    able = sum(state.ready for state in replicas) if answers else 0
    requests = [item for item in recent if mine(item, names.INFERENCE_REQUESTS)]
    answered = sum(item.value for item in requests)
    failed = sum(
        item.value for item in requests if dict(item.attributes)["outcome"] in names.SERVER_FAULTS
    )
    durations = pool([item for item in recent if mine(item, names.INFERENCE_DURATION)])

    def gauge(metric: Metric) -> float:
        return sum(item.value for item in now if mine(item, metric))

    return {
        "name": model.name,
        "version": model.version,
        "required": config.required,
        "state": _model_state(answers, able, config.replicas.min),
        "replicas_ready": able,
        "replicas_wanted": config.replicas.min,
        "slots_used": gauge(names.REPLICA_SLOTS_USED),
        "slots_total": gauge(names.REPLICA_SLOTS_TOTAL),
        "queue_rows": gauge(names.QUEUE_ROWS),
        "requests_per_s": answered / seconds if seconds else None,
        "error_rate": failed / answered if answered else None,
        "p50_s": quantile(durations, 0.5) if durations else None,
        "p99_s": quantile(durations, 0.99) if durations else None,
    }


def _model_state(answers: bool, able: int, wanted: int) -> str:
    if not answers:
        return "down"
    return "ready" if able >= wanted else "degraded"


def _serves(state: MemberState, model: ServedModel) -> bool:
    member = state.member
    return (member.role, member.model, member.version) == ("replica", model.name, model.version)


def _of_model(name: str, version: str) -> Callable[[Series, Metric], bool]:
    wanted = {("model", name), ("version", version)}
    return lambda item, metric: item.name == metric.name and wanted <= set(item.attributes)


def _in_order(findings: Iterable[FindingRecord]) -> list[FindingRecord]:
    """Return breached ones first, undecided ones last."""
    order = {True: 0, False: 1, None: 2}
    return sorted(
        findings,
        key=lambda found: (
            order[found.breached], found.model, found.version, found.monitor, found.metric
        ),
    )  # fmt: skip


def _guards(now: list[Series], recent: list[Series]) -> list[dict[str, Any]]:
    grown = {item.attributes: item.value for item in recent if _is_decision(item)}
    return [
        {**dict(item.attributes), "rows": item.value, "recent": grown.get(item.attributes, 0.0)}
        for item in now
        if _is_decision(item) and item.value
    ]


def _is_decision(item: Series) -> bool:
    return item.name == names.GUARD_DECISIONS.name


def _member(state: MemberState) -> dict[str, Any]:
    member = msgspec.to_builtins(state.member)
    return {
        **{key: member[key] for key in ("role", "id", "pid", "model", "version", "slots")},
        "ready": state.ready,
        "age_s": state.age_s,
        "restarts": state.restarts,
    }


def _problems(
    reasons: list[str],
    states: list[MemberState],
    models: list[dict[str, Any]],
    findings: list[FindingRecord],
    recent: list[Series],
    unserved: list[str],
) -> list[dict[str, str]]:
    critical = list(reasons)
    warnings = unserved + [
        f"{state.member.role} {state.member.id} is not ready"
        for state in states
        if not state.ready and state.member.role != "gateway"
    ]
    for model in models:
        if model["state"] != "ready":
            grave = critical if model["state"] == "down" and model["required"] else warnings
            grave.append(
                f"model {model['name']} version {model['version']} has "
                f"{model['replicas_ready']} of {model['replicas_wanted']} replicas ready"
            )
        if (model["error_rate"] or 0.0) >= ERROR_RATE_WARNING:
            warnings.append(
                f"model {model['name']} version {model['version']}: {model['error_rate']:.1%} of "
                "requests failed by the server during the last minute"
            )
    warnings += _breaches(findings)
    warnings += _non_finite(recent)
    for name, sentence in _TROUBLE.items():
        amount = sum(item.value for item in recent if item.name == name)
        if amount:
            warnings.append(f"{sentence} ({amount:.0f} during the last minute)")
    return [
        *({"level": "critical", "text": text} for text in critical),
        *({"level": "warning", "text": text} for text in warnings),
    ]


def _non_finite(recent: list[Series]) -> list[str]:
    """Say which models answered with no numbers during the last minute."""
    found = []
    for item in recent:
        if item.name == names.QUALITY_VIOLATIONS.name and item.value:
            of = dict(item.attributes)
            found.append(
                f"model {of['model']} version {of['version']}: output '{of['output']}' was NaN or "
                f"infinite in {item.value:.0f} rows during the last minute"
            )
    return found


def _unserved(hub: Hub) -> list[str]:
    """What cannot be served and is not among the reasons why the instance is not ready."""
    missing = hub.directory.missing
    return [
        f"cannot serve {broken.sentence}"
        for broken in hub.directory.broken
        if broken.sentence not in missing
    ]


def _breaches(findings: list[FindingRecord]) -> list[str]:
    """Say one sentence per model and monitor: drift in one feature often comes with more."""
    groups: dict[tuple[str, str, str], list[FindingRecord]] = {}
    for found in findings:
        if found.breached:
            groups.setdefault((found.monitor, found.model, found.version), []).append(found)
    sentences = []
    for (monitor, model, version), (first, *others) in groups.items():
        subject = f" of {first.subject}" if first.subject else ""
        more = f", and {len(others)} more" if others else ""
        sentences.append(
            f"{monitor} in model {model} version {version}: {first.metric}{subject} is "
            f"{_number(first.value)}, {first.direction} {_number(first.threshold)}{more}"
        )
    return sentences


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3g}"
