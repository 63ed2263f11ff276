"""Which sentences the console shows, and which of them are critical."""

from __future__ import annotations

from typing import Any

import msgspec

from serving.admin.model_rows import ModelRow
from serving.admin.problems import Problem, problems
from serving.channel.messages.directory import BrokenModel, Directory, Member
from serving.channel.messages.reports import MonitorStatus, ReplicaStatus
from serving.control.members import MemberState
from serving.telemetry.counters import SeriesSet
from serving.telemetry.metrics.events import EVENTS_DROPPED
from serving.telemetry.metrics.findings import QUALITY_VIOLATIONS
from serving.telemetry.metrics.process import TELEMETRY_EXPORT_FAILURES

WELL = ModelRow("m", "1", True, "ready", 1, 1, 0, 2, 0, 10.0, 0.0, 0.001, 0.002, None)
NOTHING = Directory()


def texts(found: list[Problem], level: str) -> list[str]:
    return [problem.text for problem in found if problem.level == level]


def of_models(*models: ModelRow) -> list[Problem]:
    return problems([], NOTHING, [], models, [], [])


def changed(**fields: Any) -> ModelRow:
    return msgspec.structs.replace(WELL, **fields)


def test_an_instance_that_is_well_has_none() -> None:
    assert of_models(WELL) == []


def test_only_a_required_model_that_is_down_is_critical() -> None:
    said = "model m version 1 has 0 of 1 replicas ready"
    down = {"state": "down", "replicas_ready": 0}
    assert of_models(changed(**down)) == [Problem("critical", said)]
    assert of_models(changed(**down, required=False)) == [Problem("warning", said)]
    assert of_models(changed(state="degraded", replicas_ready=0)) == [Problem("warning", said)]


def test_what_keeps_it_from_being_ready_comes_first() -> None:
    replica = MemberState(Member("replica", "r", 1), False, 20.0, 0, ReplicaStatus())
    gateway = MemberState(Member("gateway", "g", 1), False, 20.0, 0, None)
    said = problems(["no gateway"], NOTHING, [replica, gateway], [], [], [])
    assert said == [Problem("critical", "no gateway"), Problem("warning", "replica r is not ready")]


def test_errors_are_told_from_one_percent_on() -> None:
    assert of_models(changed(error_rate=0.009), changed(error_rate=None)) == []
    (said,) = texts(of_models(changed(error_rate=0.01)), "warning")
    assert said.startswith("model m version 1: 1.0% of requests failed by the server")


def test_a_monitor_has_one_sentence_per_version(make_finding: Any) -> None:
    findings = [
        make_finding(subject="income"),
        make_finding(value=None),
        make_finding(breached=False),
        make_finding(breached=None),
        make_finding(monitor="performance", metric="accuracy", direction="below", threshold=0.9),
        make_finding(model="n", subject="debt", threshold=None, p_value=1e-9),
    ]
    assert texts(problems([], NOTHING, [], [], findings, []), "warning") == [
        "drift in model m version 1: psi of income is 0.4, above 0.05, and 1 more",
        "performance in model m version 1: accuracy is 0.4, below 0.9",
        "drift in model n version 1: psi of debt is 0.4, p 1e-09",
    ]


def test_what_cannot_be_served_is_told_once() -> None:
    optional = BrokenModel("n", "", "no YAML")
    required = BrokenModel("o", "1", "no weights", required=True)
    directory = Directory(broken=(optional, required))
    said = problems(directory.missing, directory, [], [], [], [])
    assert said == [
        Problem("critical", "model 'o' version 1: no weights"),
        Problem("warning", "cannot serve model 'n': no YAML"),
    ]


def test_totals_that_grew_are_told() -> None:
    series = SeriesSet()
    series.sum(EVENTS_DROPPED, reason="backlog", model="m", version="1").add(3)
    series.sum(TELEMETRY_EXPORT_FAILURES).add(0)
    series.sum(QUALITY_VIOLATIONS, model="m", version="1", output="p").add(2)
    assert texts(problems([], NOTHING, [], [], [], series.snapshot()), "warning") == [
        "model m version 1: output 'p' was NaN or infinite in 2 rows during the last minute",
        (
            "prediction events were dropped: monitors see less than was served (3 during the last "
            "minute)"
        ),
    ]


def test_what_the_prediction_log_has_lost_is_a_warning() -> None:
    lost = "the prediction log has lost 2 rows"
    monitor = MemberState(Member("monitor", "m", 1), True, 1.0, 0, MonitorStatus(log=(lost,)))
    assert problems([], NOTHING, [monitor], [], [], []) == [Problem("warning", lost)]
    member = Member("monitor", "other", 2)
    other = MemberState(member, True, 1.0, 0, MonitorStatus(log=(lost, "full")))
    several = texts(problems([], NOTHING, [monitor, other], [], [], []), "warning")
    assert several == [f"m: {lost}", f"other: {lost}", "other: full"]
