"""What the console shows, as one value for its page: what is wrong comes first."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

import msgspec

from serving.admin.model_rows import ModelRow, model_row
from serving.admin.problems import Problem, problems
from serving.channel.messages.directory import Directory, RoleName
from serving.channel.messages.findings import FindingRecord
from serving.channel.messages.reports import MonitorStatus
from serving.control.history import History
from serving.control.members import MemberState
from serving.control.registry import Registry
from serving.control.unjudged import unjudged
from serving.telemetry.metrics.guards import GUARD_DECISIONS
from serving.telemetry.series import Series

GuardRow = dict[str, str | float]
"""Attributes of a count of decisions, `rows` since the start, and `recent` ones."""


class MemberRow(msgspec.Struct, frozen=True):
    """A process of the instance; see `Member` and `MemberState`."""

    role: RoleName
    id: str
    pid: int
    model: str
    version: str
    slots: int
    ready: bool
    age_s: float | None
    restarts: int


class ConsoleData(msgspec.Struct, frozen=True):
    """The whole page's content.

    Attributes:
        notes, not_judged: what monitors say of what they judge, and what not.
        window_s: length of the last minute, as far as it has been sampled.
        started_s, now_s: seconds since the epoch.
    """

    ready: bool
    problems: list[Problem]
    models: list[ModelRow]
    findings: list[FindingRecord]
    notes: list[str]
    not_judged: list[str]
    guards: list[GuardRow]
    members: list[MemberRow]
    window_s: float
    started_s: float
    now_s: float


def console_data(registry: Registry, history: History, notes: Sequence[str] = ()) -> ConsoleData:
    """Return the whole page's content.

    Args:
        registry: the instance.
        history: samples of `registry.aggregate()`, taken every few seconds.
        notes: what else is wrong, one sentence each.
    """
    ready, reasons = registry.ready()
    now = registry.aggregate()
    recent = history.increase()
    states = registry.states()
    directory = registry.directory
    models = [
        model_row(model, states, now, recent, history.seconds, registry.explainer_state(model))
        for model in directory.models
    ]
    findings = _in_order(registry.findings())
    return ConsoleData(
        ready=ready,
        problems=[
            *problems(reasons, directory, states, models, findings, recent),
            *(Problem("warning", note) for note in notes),
        ],
        models=models,
        findings=findings,
        notes=[note for status in _monitors(states) for note in status.notes],
        not_judged=_not_judged(directory, states),
        guards=_guards(now, recent),
        members=[_member(state) for state in states],
        window_s=history.seconds,
        started_s=registry.started_ns / 1e9,
        now_s=time.time(),
    )


def _in_order(findings: Iterable[FindingRecord]) -> list[FindingRecord]:
    """Return breached ones first, undecided ones last."""
    order = {True: 0, False: 1, None: 2}
    return sorted(
        findings,
        key=lambda found: (
            order[found.breached],
            found.model,
            found.version,
            found.monitor,
            found.metric,
        ),
    )


def _monitors(states: Iterable[MemberState]) -> list[MonitorStatus]:
    return [state.status for state in states if isinstance(state.status, MonitorStatus)]


def _not_judged(directory: Directory, states: Sequence[MemberState]) -> list[str]:
    notes = [note for status in _monitors(states) for note in status.not_judged]
    return [*unjudged(directory, states), *notes]


def _guards(now: Sequence[Series], recent: Sequence[Series]) -> list[GuardRow]:
    grown = {item.attributes: item.value for item in recent if _is_decision(item)}
    return [
        {**dict(item.attributes), "rows": item.value, "recent": grown.get(item.attributes, 0.0)}
        for item in now
        if _is_decision(item) and item.value
    ]


def _is_decision(item: Series) -> bool:
    return item.name == GUARD_DECISIONS.name


def _member(state: MemberState) -> MemberRow:
    who = state.member
    return MemberRow(
        who.role,
        who.id,
        who.pid,
        who.model,
        who.version,
        who.slots,
        state.ready,
        state.age_s,
        state.restarts,
    )
