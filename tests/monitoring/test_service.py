import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monitors.performance.label_join import LabelJoin
from serving.channel.messages.directory import ServedModel
from serving.channel.messages.findings import FindingRecord
from serving.channel.messages.observation import (
    ANSWERED,
    FAILED,
    FLAGGED,
    REFUSED,
    EventMeta,
    Label,
    LabelCounts,
    LabelsMeta,
    LabelsWantedMeta,
    Position,
    RecalledMeta,
    RecalledRow,
)
from serving.config import ModelConfig
from serving.errors import ModelNotFound
from serving.monitoring.service import MonitoringService
from serving.protocol.messages import Tensor

NOW = 1000.0
DAY = 86400.0


def served(version: str, folder: Path, **monitors: Any) -> ServedModel:
    config = ModelConfig.model_validate({
        "format": "python", "factory": "net:build", "trust_code": True,
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}],
        "outputs": [{"name": "p", "datatype": "FP32", "shape": [-1, 2]}],
        "monitors": {"drift": None, **monitors},
    })  # fmt: skip
    return ServedModel("loans", version, config.model_dump_json().encode(), str(folder))


class Clock:
    """Seconds that a test sets."""

    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def observe(service: MonitoringService, version: str, idents: list[str], sequence: int = 0) -> None:
    n = len(idents)
    position = Position("gateway-0", 1, sequence, sequence * n, sequence * n)
    meta = EventMeta(position, "loans", version, NOW, idents, [1] * n, {})
    scores = np.tile(np.array([[0.1, 0.9]], np.float32), (n, 1))
    service.observe(meta, [Tensor("out:p", "FP32", (n, 2), scores)])


def push(service: MonitoringService, *idents: str) -> LabelCounts:
    return service.label(LabelsMeta("loans", [Label(ident, 0, 1) for ident in idents]))


def accuracy(findings: Sequence[FindingRecord]) -> FindingRecord:
    (found,) = [one for one in findings if one.metric == "accuracy"]
    return found


def restarted(service: MonitoringService, clock: Clock) -> MonitoringService:
    """Another one that goes on from what this one saves as a whole."""
    entries: dict[str, list[Any]] = {}
    for owner, entry in service.entries():
        entries.setdefault(owner, []).append(entry)
    state, entries = json.loads(json.dumps([service.state(), entries]))
    again = MonitoringService(clock)
    again.restore(state, entries)
    return again


def test_what_became_of_rows_in_guards_is_judged_whatever_became_of_their_requests(tmp_path, clock):
    config = {
        "format": "python", "factory": "net:build", "trust_code": True,
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}],
        "outputs": [{"name": "p", "datatype": "FP32", "shape": [-1, 2]}],
        "guards": [{"name": "schema", "expected_rate": 0.1}],
        "monitors": {"drift": None, "guard_rate": {"window": 200}},
    }  # fmt: skip
    raw = ModelConfig.model_validate(config).model_dump_json().encode()
    service = MonitoringService(clock)
    service.serve([ServedModel("loans", "1", raw, str(tmp_path))])
    for sequence, kind in enumerate((ANSWERED, REFUSED, FAILED, ANSWERED)):
        position = Position("gateway-0", 1, sequence, sequence * 100, sequence * 100)
        meta = EventMeta(
            position, "loans", "1", NOW + sequence, [f"r{at}" for at in range(100)], [1] * 100, {},
            kind=kind, guards={"schema": bytes([FLAGGED]) * 100},
        )  # fmt: skip
        assert service.observe(meta, [])
        assert not service.observe(meta, [])  # the same one again changes nothing
    found = [each for each in service.findings("loans").findings if each.monitor == "guard_rate"]
    assert [(each.value, each.breached, each.subject) for each in found] == [(1.0, True, "schema")]
    again = restarted(service, clock)
    again.serve([ServedModel("loans", "1", raw, str(tmp_path))])
    assert [each.breached for each in again.findings("loans").findings] == [True]


def test_labels_of_a_version_that_was_replaced_are_late_also_after_a_restart(tmp_path, clock):
    service = MonitoringService(clock)
    service.serve([served("1", tmp_path)])
    observe(service, "1", ["a", "b"])
    service.serve([served("2", tmp_path)])
    observe(service, "2", ["c"], sequence=1)
    for one in (service, restarted(service, clock)):
        one.serve([served("2", tmp_path)])
        assert push(one, "a", "b", "c", "never") == LabelCounts(accepted=1, unknown=1, late=2)


def test_labels_of_a_version_that_was_replaced_while_nobody_watched_are_late(tmp_path, clock):
    service = MonitoringService(clock)
    service.serve([served("1", tmp_path)])
    observe(service, "1", ["a"])
    again = restarted(service, clock)
    again.serve([served("2", tmp_path)])
    assert push(again, "a", "never") == LabelCounts(unknown=1, late=1)


def test_a_version_that_comes_back_after_a_restart_has_its_predictions(tmp_path, clock):
    service = MonitoringService(clock)
    service.serve([served("1", tmp_path), served("2", tmp_path)])
    observe(service, "1", ["a"])
    again = restarted(service, clock)
    again.serve([served("2", tmp_path)])
    again.serve([served("1", tmp_path), served("2", tmp_path)])
    assert push(again, "a") == LabelCounts(accepted=1)


def test_labels_that_come_after_the_retention_are_late(tmp_path, clock):
    service = MonitoringService(clock)
    service.serve([served("1", tmp_path)])
    observe(service, "1", ["a"])
    clock.now = NOW + 31 * DAY
    assert push(service, "a") == LabelCounts(late=1)


def test_changes_bring_back_what_all_entries_do(tmp_path, clock):
    service = MonitoringService(clock)
    service.serve([served("1", tmp_path)])
    kept: dict[str, dict[int, Any]] = {}
    for step in range(3):
        observe(service, "1", [f"r{step}-{row}" for row in range(5)], step)
        push(service, f"r{step}-0", f"early-{step}")
        for owner, entries in json.loads(json.dumps(service.changes())):
            for number, *values in entries:
                kept.setdefault(owner, {})[number] = values
    assert service.changes() == []
    again = MonitoringService(clock)
    entries = {
        owner: [[number, *values] for number, values in sorted(one.items())]
        for owner, one in kept.items()
    }
    again.restore(json.loads(json.dumps(service.state())), entries)
    again.serve([served("1", tmp_path)])
    assert push(again, "r0-0", "r1-1", "early-2", "never") == LabelCounts(
        accepted=1, duplicate=2, unknown=1
    )


def test_a_version_that_is_gone_leaves_no_gauge(tmp_path, clock):
    service = MonitoringService(clock)
    service.serve([served("1", tmp_path)])
    observe(service, "1", [f"r{row}" for row in range(200)])
    push(service, *(f"r{row}" for row in range(200)))

    def scores() -> list[float]:
        return [
            one.value
            for one in service.snapshot()
            if one.name.endswith("performance.score") and ("metric", "accuracy") in one.attributes
        ]

    assert scores() == [1.0]
    finding = accuracy(service.findings("loans").findings)
    assert (finding.breached, finding.reason, finding.age_s) == (
        None,
        "no threshold set",
        0,
    )
    service.serve([served("2", tmp_path)])
    assert scores() == []


def test_a_gauge_ends_when_its_finding_is_stale(tmp_path, clock):
    service = MonitoringService(clock)
    service.serve([served("1", tmp_path, performance={"min": 0.9}, stale_after_s=60)])
    observe(service, "1", [f"r{row}" for row in range(200)])
    push(service, *(f"r{row}" for row in range(200)))
    clock.now = NOW + 3600
    names = [one.name for one in service.snapshot()]
    assert not [name for name in names if name.endswith("performance.score")]
    finding = accuracy(service.all_findings())
    assert (finding.breached, finding.age_s) == (None, 3600)
    assert finding.reason == "stale: no labels for 60 minutes; fine before that"


def test_all_processor_time_is_a_models_or_nobodys(tmp_path, clock):
    spent = iter([50.0, 60.0])
    service = MonitoringService(clock, spent=lambda: next(spent))
    service.serve([served("1", tmp_path)])
    observe(service, "1", ["a", "b"])
    push(service, "a")
    observe(service, "unknown", ["c"], sequence=1)
    for total in (50.0, 60.0):
        told = {
            tuple(value for _, value in item.attributes): item.value
            for item in service.snapshot()
            if item.name == "vigil.model.cpu.time"
        }
        assert sum(told.values()) == pytest.approx(total)
        assert told.keys() == {("loans", "monitor", "1"), ("", "monitor", "")}
        assert 0 < told["loans", "monitor", "1"] < 1


def test_each_check_has_its_processor_time(tmp_path, clock):
    service = MonitoringService(clock, spent=lambda: 1.0)
    service.serve([served("1", tmp_path)])
    observe(service, "1", ["a", "b"])
    push(service, "a")
    found = service.snapshot()
    checks = {
        dict(item.attributes)["check"]: item.value
        for item in found
        if item.name == "vigil.check.cpu.time"
    }
    assert checks.keys() == {"quality", "performance", "labels"}
    assert all(value > 0 for value in checks.values())
    (whole,) = (
        item.value
        for item in found
        if item.name == "vigil.model.cpu.time" and ("model", "loans") in item.attributes
    )
    assert sum(checks.values()) <= whole


# -- what is recalled -----------------------------------------------------------------------


@pytest.fixture
def small_memory(monkeypatch):
    """Two predictions of each version are kept."""
    monkeypatch.setattr(
        "serving.monitoring.labelled_rows.LabelJoin", partial(LabelJoin, max_rows=2)
    )


def recall(service: MonitoringService, *rows: tuple[str, str], predicted: Any = 1) -> None:
    found = [RecalledRow(ident, 0, version, NOW, predicted) for ident, version in rows]
    service.recalled(RecalledMeta("loans", found))


def missing(service: MonitoringService, *idents: str) -> list[str]:
    pushed = LabelsMeta("loans", [Label(ident, 0, 1) for ident in idents])
    return [ident for ident, _ in service.missing(pushed)]


def test_labels_meet_predictions_that_are_recalled_to_their_version(tmp_path, clock, small_memory):
    service = MonitoringService(clock)
    service.serve([served("1", tmp_path), served("2", tmp_path)])
    observe(service, "1", ["a", "b", "c"])
    observe(service, "2", ["d", "e", "f"], sequence=1)
    assert missing(service, "a", "a", "b", "f", "never") == ["a", "never"]
    recall(service, ("a", "1"), ("d", "2"))
    assert missing(service, "a", "d", "never") == ["never"]
    assert push(service, "a", "d", "c") == LabelCounts(accepted=3)
    labelled = {watch.entry.version: watch._truth._join.labelled for watch in service.watches}
    assert labelled == {"1": 2, "2": 1}
    for one in (service, restarted(service, clock)):
        one.serve([served("1", tmp_path), served("2", tmp_path)])
        recall(one, ("a", "1"), ("d", "2"))
        # Their labels went with them, and count once.
        assert push(one, "a", "d", "c") == LabelCounts(late=2, duplicate=1)


def test_labels_of_what_cannot_be_recalled_are_late(tmp_path, clock, small_memory):
    service = MonitoringService(clock)
    service.serve([served("1", tmp_path)])
    observe(service, "1", ["a", "b", "c"])
    recall(service, ("z", "9"))
    recall(service, ("y", "1"), predicted=0.5)
    assert push(service, "z", "y", "never") == LabelCounts(late=2, unknown=1)


def test_what_a_version_stores_is_not_recalled_to_another(tmp_path, clock):
    service = MonitoringService(clock)
    service.serve([served("1", tmp_path), served("2", tmp_path)])
    observe(service, "1", ["a"])
    observe(service, "2", ["b"], sequence=1)
    recall(service, ("a", "2"))
    assert push(service, "a") == LabelCounts(accepted=1)
    assert [watch._truth._join.knows("a", 0) for watch in service.watches] == [True, False]


def test_a_version_that_is_watched_anew_recalls_nothing_of_before(tmp_path, clock):
    service = MonitoringService(clock)
    service.serve([served("1", tmp_path)])
    observe(service, "1", ["a", "b"])
    push(service, "a")
    service.serve([served("1", tmp_path, performance={"min": 0.5})])
    recall(service, ("a", "1"), ("b", "1"))
    assert push(service, "a", "b") == LabelCounts(late=2)


def test_nothing_is_missing_where_no_version_takes_labels(tmp_path, clock):
    service = MonitoringService(clock)
    assert missing(service, "a") == []
    service.serve([served("1", tmp_path, performance=None)])
    assert missing(service, "a") == []


def test_orders_of_labels_are_of_the_newest_version_with_rows_and_are_drawn_again(tmp_path, clock):
    wanted = LabelsWantedMeta("loans", 3, 5)
    found = []
    for _ in range(2):
        service = MonitoringService(clock)
        service.serve([served("1", tmp_path), served("2", tmp_path)])
        observe(service, "1", list("abcdef"))
        found.append(service.order_labels(wanted))
    assert found[0] == found[1]
    assert (found[0].version, found[0].pool) == ("1", 6)
    assert 1 < len(found[0].rows) <= 3
    observe(service, "2", ["g"], sequence=1)
    assert service.order_labels(wanted).version == "2"
    with pytest.raises(ModelNotFound):
        service.order_labels(LabelsWantedMeta("cats", 3, 5))
