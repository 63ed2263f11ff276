"""How each served version fares, for the console: its replicas, its queue, its last minute."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from serving.channel.messages.directory import ServedModel
from serving.control.history import pool, quantile
from serving.control.members import MemberState
from serving.control.served_model import config_of
from serving.telemetry.metric import Metric
from serving.telemetry.metrics.inference import INFERENCE_DURATION, INFERENCE_REQUESTS, QUEUE_ROWS
from serving.telemetry.metrics.models import MODEL_READY, REPLICA_SLOTS_TOTAL, REPLICA_SLOTS_USED
from serving.telemetry.outcomes import SERVER_FAULTS
from serving.telemetry.series import Series


class ModelRow(msgspec.Struct, frozen=True):
    """A served version.

    Attributes:
        state: `down` answers nobody, `degraded` has fewer replicas than it should.
        requests_per_s: over the last minute; None before there are two samples.
        error_rate, p50_s, p99_s: over the last minute; None without requests.
        explainer: how its explainer fares; None if there is nothing to explain.
    """

    name: str
    version: str
    required: bool
    state: Literal["ready", "degraded", "down"]
    replicas_ready: int
    replicas_wanted: int
    slots_used: float
    slots_total: float
    queue_rows: float
    requests_per_s: float | None
    error_rate: float | None
    p50_s: float | None
    p99_s: float | None
    explainer: str | None


def model_row(
    model: ServedModel,
    states: Sequence[MemberState],
    now: Sequence[Series],
    recent: Sequence[Series],
    seconds: float,
    explainer: str | None,
) -> ModelRow:
    """Return how a version fares.

    Args:
        model: the version.
        states: every member.
        now: the instance's totals.
        recent: by how much they grew over the last minute.
        seconds: how long that minute was.
        explainer: how its explainer fares.
    """
    replicas = config_of(model).replicas.min
    mine = _of_model(model.name, model.version)
    # A replica may run and be of no use: its upstream is gone, or no gateway reaches it.
    answers = any(item.value for item in now if mine(item, MODEL_READY))
    able = sum(state.ready for state in states if _serves(state, model)) if answers else 0
    requests = [item for item in recent if mine(item, INFERENCE_REQUESTS)]
    answered = sum(item.value for item in requests)
    failed = sum(
        item.value for item in requests if dict(item.attributes)["outcome"] in SERVER_FAULTS
    )
    durations = pool([item for item in recent if mine(item, INFERENCE_DURATION)])

    def gauge(metric: Metric) -> float:
        return sum(item.value for item in now if mine(item, metric))

    return ModelRow(
        name=model.name,
        version=model.version,
        required=config_of(model).required,
        state=("ready" if able >= replicas else "degraded") if answers else "down",
        replicas_ready=able,
        replicas_wanted=replicas,
        slots_used=gauge(REPLICA_SLOTS_USED),
        slots_total=gauge(REPLICA_SLOTS_TOTAL),
        queue_rows=gauge(QUEUE_ROWS),
        requests_per_s=answered / seconds if seconds else None,
        error_rate=failed / answered if answered else None,
        p50_s=quantile(durations, 0.5) if durations else None,
        p99_s=quantile(durations, 0.99) if durations else None,
        explainer=explainer,
    )


def _serves(state: MemberState, model: ServedModel) -> bool:
    member = state.member
    return (member.role, member.model, member.version) == ("replica", model.name, model.version)


def _of_model(name: str, version: str) -> Callable[[Series, Metric], bool]:
    wanted = {("model", name), ("version", version)}
    return lambda item, metric: item.name == metric.name and wanted <= set(item.attributes)
