"""Versions of another server: each has findings, labels, reports and saved state of its own."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.channel.messages.directory import ServedModel
from serving.channel.messages.findings import FindingRecord
from serving.channel.messages.observation import EventMeta, Label, LabelCounts, LabelsMeta, Position
from serving.config import ModelConfig
from serving.errors import ModelNotFound, VersionNotFound
from serving.monitoring.monitored_versions import ACTIVE_S, MOST_COUNTED, MOST_UPSTREAM, OTHERS
from serving.monitoring.service import MonitoringService
from serving.protocol.messages import Tensor
from serving.telemetry.logs.report import FIELDS

NOW = 1000.0
DRIFT = {"reference": "live", "reference_rows": 100, "window": 50}


class Bench:
    """An service of one model on another server, and what its gateways tell."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = NOW
        self.sequence = self.sent = 0
        self.random = np.random.default_rng(0)
        self.service = MonitoringService(lambda: self.now)
        self.serve("1")

    def serve(self, *versions: str, **monitors: Any) -> None:
        config = ModelConfig.model_validate({
            "format": "remote", "remote": {"url": "grpc://127.0.0.1:1"},
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}],
            "outputs": [
                {"name": "p", "datatype": "FP32", "shape": [-1, 2], "classes": ["no", "yes"]}
            ],
            "monitors": {"drift": DRIFT, **monitors},
        })  # fmt: skip
        content = config.model_dump_json().encode()
        self.service.serve([
            ServedModel("m", version, content, str(self.folder)) for version in versions
        ])  # fmt: skip

    def answered(
        self,
        upstream: str,
        rows: int = 1,
        mean: float = 0.0,
        ids: str = "r",
        score: float = 0.9,
        version: str = "1",
    ) -> None:
        """One message with `rows` requests of one row each."""
        position = Position("gateway-0", 1, self.sequence, self.sent, self.sent)
        self.sequence, self.sent = self.sequence + 1, self.sent + rows
        idents = [f"{ids}{row}" for row in range(rows)]
        meta = EventMeta(position, "m", version, self.now, idents, [1] * rows, {}, upstream)
        x = self.random.normal(mean, 1, (rows, 1)).astype(np.float32)
        p = np.tile(np.array([[1 - score, score]], np.float32), (rows, 1))
        tensors = [Tensor("in:x", "FP32", (rows, 1), x), Tensor("out:p", "FP32", (rows, 2), p)]
        self.service.observe(meta, tensors)

    def push(self, *ids: str) -> LabelCounts:
        labels = [Label(ident, 0, "yes") for ident in ids]
        return self.service.label(LabelsMeta("m", labels))

    def restart(self, *versions: str) -> None:
        entries: dict[str, list[Any]] = {}
        for owner, entry in self.service.entries():
            entries.setdefault(owner, []).append(entry)
        state, entries = json.loads(json.dumps([self.service.state(), entries]))
        self.service = MonitoringService(lambda: self.now)
        self.service.restore(state, entries)
        self.serve(*versions)

    def found(self, metric: str) -> dict[str, FindingRecord]:
        """The findings of a metric by version."""
        findings = self.service.findings("m").findings
        return {one.version: one for one in findings if one.metric == metric}

    def versions(self) -> set[str]:
        return {watch.entry.version for watch in self.service.watches}

    def gauges(self) -> set[str]:
        """Versions that a gauge is about."""
        told = [dict(s.attributes) for s in self.service.snapshot() if s.kind == "gauge"]
        return {one["version"] for one in told if "version" in one}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_findings_of_two_versions_are_apart(bench):
    for step in range(5):  # by turns, as while a roll-out is under way
        bench.answered("", 50)
        bench.answered("v2", 50, mean=4.0 if step >= 2 else 0.0)
    found = bench.found("drifted_features")
    assert {version: one.breached for version, one in found.items()} == {"1": False, "v2": True}
    assert {one.n_reference for one in found.values()} == {100}
    reported = bench.service.all_findings()
    assert {(one.model, one.version) for one in reported} == {("m", "1"), ("m", "v2")}
    assert bench.gauges() == {"1", "v2"}
    alarms = {
        dict(one.attributes)["version"]: one.value
        for one in bench.service.snapshot()
        if one.name == "vigil.drift.alarms"
    }
    assert alarms == {"1": 0, "v2": 3}


def test_labels_count_for_the_version_that_answered(bench):
    bench.answered("", 200, ids="old", score=0.1)
    bench.answered("v0.1.0", 200, ids="new", score=0.9)
    counts = bench.push(*(f"{ids}{row}" for ids in ("old", "new") for row in range(200)))
    assert counts == LabelCounts(accepted=400)
    found = bench.found("accuracy")
    assert {version: one.value for version, one in found.items()} == {"1": 0.0, "v0.1.0": 1.0}


def test_a_label_waits_at_the_version_that_answered_last(bench):
    bench.answered("2", ids="a")
    bench.answered("3", ids="b")
    bench.answered("2", ids="c")
    assert bench.push("later0") == LabelCounts(unknown=1)
    bench.answered("2", ids="later")
    assert bench.push("later0") == LabelCounts(duplicate=1)


def test_a_restart_goes_on_with_every_version(bench):
    for _ in range(3):
        bench.answered("2", 50, ids="two")
        bench.answered("", 50, ids="one")
        bench.answered("3", 50, ids="three", mean=2.0)
    metrics = ("drifted_features", "psi", "non_finite_rows")
    before = [bench.found(metric) for metric in metrics]
    bench.restart("1")
    assert [bench.found(metric) for metric in metrics] == before
    assert [w.entry.version for w in bench.service.watches] == ["2", "1", "3"]
    assert bench.push("one7", "two7", "three7", "never0") == LabelCounts(accepted=3, unknown=1)
    bench.answered("3", 50, mean=-2.0)
    assert bench.found("drifted_features")["3"].breached is True
    assert bench.found("drifted_features")["2"].breached is False


def test_a_version_that_is_served_after_a_restart_goes_on_as_it_was(bench):
    """`vigil watch` takes the upstream's version for its own when it starts."""
    bench.answered("", ids="old")
    for _ in range(3):
        bench.answered("2", 50, ids="new")
    before = bench.found("drifted_features")["2"]
    bench.restart("2")
    assert bench.versions() == {"2"}
    assert bench.found("drifted_features") == {"2": before}
    bench.answered("", 50, version="2", mean=4.0)
    assert bench.found("drifted_features")["2"].breached is True
    assert bench.push("new0", "old0") == LabelCounts(accepted=1, late=1)
    bench.answered("1", version="2")  # rolled back
    assert bench.versions() == {"1", "2"}


def test_the_version_that_was_silent_longest_is_displaced(bench):
    bench.answered("", ids="served")
    for version in range(2, 2 + MOST_UPSTREAM):
        bench.now += 1
        for _ in range(3):
            bench.answered(f"v{version}", 50, ids=f"of{version}-")
    bench.answered("v2")  # so v3 is the one
    bench.now += ACTIVE_S
    bench.answered("v9", ids="of9-")
    assert bench.versions() == {"1", "v2", "v4", "v5", "v9"}
    assert bench.gauges() <= bench.versions()
    assert bench.push("of3-0", "of4-0", "served0") == LabelCounts(accepted=2, late=1)
    changes = bench.service.changes()
    assert ("m/v3", None) in changes
    bench.answered("v3")  # anew; nothing is left of what it was
    assert bench.versions() == {"1", "v2", "v3", "v5", "v9"}
    assert bench.found("drifted_features").keys() == {"v2", "v5"}


def test_a_server_that_makes_up_versions_is_bounded(bench, caplog):
    with caplog.at_level(logging.WARNING, "vigil"):
        for version in range(100):
            bench.answered(f"made-up-{version}")
    assert len(bench.versions()) == 1 + MOST_UPSTREAM
    assert bench.service.unwatched == 100 - MOST_UPSTREAM
    (told,) = [r for r in caplog.records if "is not watched" in r.message]
    assert getattr(told, FIELDS)["version"] == f"made-up-{MOST_UPSTREAM}"
    assert "version 'made-up-99' of model 'm' upstream is not watched" in str(
        bench.service.findings("m").notes
    )
    assert "made-up-99" in str(bench.service.status().not_judged)
    for version in range(2 * MOST_COUNTED):
        bench.now += 2 * ACTIVE_S
        bench.answered(f"slowly-{version}")
    assert len(bench.versions()) == 1 + MOST_UPSTREAM
    assert bench.service.findings("m").notes[-1].count("of model 'm' upstream is not") == 0
    counted = {
        dict(one.attributes)["version"]
        for one in bench.service.snapshot()
        if one.name == "vigil.drift.alarms"
    }
    assert len(counted) == 1 + MOST_COUNTED + 1
    assert OTHERS in counted


def test_a_served_version_that_never_answered_is_not_told_of(bench):
    """What is called 1 here may be `v0.1.0` there."""
    notes = bench.service.findings("m").notes
    assert any("model 'm':" in note for note in notes)
    bench.answered("v0.1.0", 10)
    notes = bench.service.findings("m").notes
    assert notes
    assert all("model 'm' version 'v0.1.0' upstream" in note for note in notes)
    bench.answered("", 10)
    notes = bench.service.findings("m").notes
    assert any("model 'm':" in note for note in notes)


def test_a_report_is_about_the_version_that_answered_last(bench):
    watches = bench.service.watches

    def latest() -> str:
        return watches.latest("m", "1").entry.version

    assert latest() == "1"
    bench.answered("2")
    assert latest() == "2"
    bench.answered("")
    assert latest() == "1"
    assert watches.watch("m", "2").entry.version == "2"
    with pytest.raises(VersionNotFound):
        watches.watch("m", "3")
    with pytest.raises(ModelNotFound):
        watches.latest("n", "1")


def test_a_version_that_is_served_too_has_one_watch(bench):
    bench.answered("2")
    bench.serve("1", "2")
    bench.answered("2", 150)
    bench.answered("", 50, version="2")
    assert bench.found("drifted_features").keys() == {"2"}
    assert bench.versions() == {"1", "2"}


@pytest.mark.parametrize("how", ["changed", "gone"])
def test_versions_end_with_the_one_that_is_served_in_their_name(bench, how):
    for _ in range(3):
        bench.answered("2", 50)
    if how == "changed":
        bench.serve("1", stale_after_s=60)
    else:
        bench.serve()
    assert bench.versions() == ({"1"} if how == "changed" else set())
    assert bench.gauges() == set()
    bench.answered("2", version="7")  # of a version that is not served any more
    assert bench.service.unwatched == 1
