"""What each combination of monitors makes of predictions and labels."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monitors.finding import Finding
from monitors.performance.forgotten_keys import ForgottenKeys
from monitors.performance.labels import LabelEvent
from serving.channel.messages.observation import LabelCounts
from serving.config import ModelConfig
from serving.errors import Unsupported
from serving.models.repository.folder import ModelEntry
from serving.monitoring.event_decoding import PredictionEvent
from serving.monitoring.model_monitors import ModelMonitors
from serving.telemetry.counters import SeriesSet

HOUR = 3600.0
LIVE = {"reference": "live", "reference_rows": 100, "window": 50}
CLASSES = {"name": "p", "datatype": "FP32", "shape": [-1, 2], "classes": ["no", "yes"]}
KINDS = {
    "scores": {"name": "p", "datatype": "FP32", "shape": [-1, 2]},
    "classes": CLASSES,
    "labels": {"name": "p", "datatype": "INT64", "shape": [-1]},
    "regression": {"name": "p", "datatype": "FP32", "shape": [-1, 1]},
    "numbers": {"name": "p", "datatype": "FP32", "shape": [-1]},
    "text": {"name": "p", "datatype": "BYTES", "shape": [-1]},
}
CLASSIFIERS = ("scores", "classes", "labels")
FAIRNESS = {"sensitive": ["sex"], "favorable": "yes"}


@pytest.fixture
def make(tmp_path: Path):
    def make_watch(
        output: dict[str, Any] = CLASSES,
        monitors: dict[str, Any] | None = None,
        fairness: dict[str, Any] | None = None,
        series: SeriesSet | None = None,
        inputs: list[dict[str, Any]] | None = None,
    ) -> ModelMonitors:
        config = ModelConfig.model_validate({
            "format": "python", "factory": "net:build", "trust_code": True,
            "inputs": inputs or [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}],
            "outputs": [output], "monitors": monitors or {}, "fairness": fairness,
        })  # fmt: skip
        entry = ModelEntry("loans", "1", tmp_path, config, None)
        return ModelMonitors(entry, series or SeriesSet(), ForgottenKeys())

    return make_watch


def predictions(
    n: int, output: dict[str, Any] = CLASSES, first: int = 0, x: np.ndarray | None = None
) -> PredictionEvent:
    """`n` requests of one row, all of class 1."""
    if output["datatype"] == "BYTES":
        answers = np.array([b"1"] * n, dtype=object)
    elif len(output["shape"]) == 2:
        answers = np.tile(np.linspace(0.1, 0.9, output["shape"][1], dtype=np.float32), (n, 1))
    else:
        answers = np.ones(n, np.int64)
    return PredictionEvent(
        1000.0, [f"r{number}" for number in range(first, first + n)],
        np.zeros(n, np.int64), {"x": np.zeros((n, 1), np.float32) if x is None else x},
        {"p": answers}, {},
    )  # fmt: skip


def accuracies(watch: ModelMonitors, now: float) -> list[Finding]:
    return [finding for finding in watch.findings(now) if finding.metric == "accuracy"]


def labels(n: int, truth: int = 1, first: int = 0) -> list[LabelEvent]:
    return [LabelEvent(f"r{number}", 0, truth) for number in range(first, first + n)]


@pytest.mark.parametrize("drift", [None, LIVE, {"reference": "profile"}], ids=str)
@pytest.mark.parametrize(
    ("kind", "performance", "fairness"),
    [
        pytest.param(kind, performance, fairness, id=f"{kind}-{performance}-{fairness and 'fair'}")
        for kind in KINDS
        for performance in (None, {}, {"min": 0.9})
        for fairness in (None, FAIRNESS)
        # Those that a configuration may have.
        if (not fairness or kind == "classes") and (not performance or kind in CLASSIFIERS)
    ],
)
def test_accepted_labels_are_joined_and_the_others_are_refused(
    make, drift, performance, fairness, kind
):
    output = KINDS[kind]
    classifier = kind in CLASSIFIERS
    watch = make(output, {"drift": drift, "performance": performance}, fairness)
    watch.update(predictions(200, output), 1000)
    if not classifier or (performance is None and fairness is None):
        reason = "no classifier" if not classifier else "monitors.performance is null"
        with pytest.raises(Unsupported, match=f"takes no labels: .*{reason}"):
            watch.check_labels(labels(1))
        with pytest.raises(Unsupported, match="takes no labels"):
            watch.label(labels(1), 1000)
        return
    assert watch.label(labels(150), 1000) == LabelCounts(accepted=150)
    assert watch.label(labels(200), 1000) == LabelCounts(accepted=50, duplicate=150)
    found = accuracies(watch, 1000)
    if performance is None:
        assert found == []
    else:
        (accuracy,) = found
        assert accuracy.value == 1
        assert accuracy.breached is (False if performance else None)
        assert accuracy.reason == ("" if performance else "no threshold set")


@pytest.mark.parametrize(("minimum", "verdict"), [(None, None), (0.9, True), (0.001, False)])
def test_no_label_right_is_never_fine_by_itself(make, minimum, verdict):
    watch = make(monitors={"drift": None, "performance": {"min": minimum}})
    watch.update(predictions(200), 1000)
    watch.label(labels(200, truth=0), 1000)
    (accuracy,) = accuracies(watch, 1000)
    assert (accuracy.value, accuracy.breached) == (0, verdict)


def test_a_breach_of_hours_ago_is_no_current_problem(make):
    series = SeriesSet()
    watch = make(monitors={"drift": LIVE, "performance": {"min": 0.9}}, series=series)
    watch.update(predictions(100), 1000)
    watch.update(predictions(50, first=100, x=np.full((50, 1), 9, np.float32)), 1000)
    watch.update(predictions(50, first=150, x=np.full((50, 1), 9, np.float32)), 1000)
    watch.label(labels(200, truth=0), 1000)
    judged = {(one.monitor, one.breached) for one in watch.findings(1000 + HOUR)}
    assert judged == {("drift", True), ("performance", True), ("quality", False)}
    gauges = [one.name for one in series.snapshot() if one.kind == "gauge"]
    assert "vigil.drift.score" in gauges

    later = 1000 + 5 * HOUR
    found = watch.findings(later)
    assert {one.breached for one in found} == {None}
    assert {(one.monitor, one.reason) for one in found} == {
        ("drift", "stale: no rows for 5 hours; breached before that"),
        ("performance", "stale: no labels for 5 hours; breached before that"),
        ("quality", "stale: no rows for 5 hours; fine before that"),
    }
    watch.refresh(later)
    kept = [one.name for one in series.snapshot() if one.kind == "gauge"]
    assert kept == ["vigil.labels.coverage"]

    watch.update(predictions(1, first=200), later)
    watch.label(labels(1, first=200), later)
    assert {one.breached for one in watch.findings(later)} == {None}
    watch.update(predictions(199, first=201), later)
    watch.label(labels(199, first=201), later)
    assert False in {one.breached for one in watch.findings(later)}
    assert not any(one.breached is None for one in watch.findings(later))


def test_staleness_and_entries_outlive_a_restart(make):
    monitors = {"drift": None, "performance": {"min": 0.9}, "stale_after_s": 60}
    watch = make(monitors=monitors)
    watch.update(predictions(250), 1000)
    watch.label(labels(200, truth=0), 1000)
    watch.findings(1100)
    state, entries = json.loads(json.dumps([watch.state(), list(watch.entries())]))
    other = make(monitors=monitors)
    other.restore_entries(entries)
    other.restore(state)
    assert [(f.breached, "breached before" in f.reason) for f in accuracies(other, 1100)] == [
        (None, True)
    ]
    assert other.label(labels(250, truth=0), 1100) == LabelCounts(accepted=50, duplicate=200)


def test_another_minimum_is_judged_anew(make):
    watch = make(monitors={"drift": None})
    watch.update(predictions(200), 1000)
    watch.label(labels(200, truth=0), 1000)
    other = make(monitors={"drift": None, "performance": {"min": 0.9}})
    other.restore(json.loads(json.dumps(watch.state())))
    assert accuracies(other, 1000) == []


def test_what_nobody_judges_is_told(make):
    watch = make(monitors={"drift": None})
    assert watch.not_judged == [
        "drift of model 'loans' is not watched: its monitors.drift is null",
        "quality of model 'loans': no verdict yet, 0 of 100 rows",
        "accuracy of model 'loans': no verdict yet, 0 of 200 labelled rows",
    ]
    unprofiled = make()
    assert "the version has no profile" in unprofiled.not_judged[0]
    assert make(monitors={"drift": LIVE}).notes[0].endswith("collecting reference: 0 of 100 rows")


def test_texts_that_are_no_categories_are_not_watched_live(make):
    inputs = [
        {"name": "x", "datatype": "FP32", "shape": [-1, 1]},
        {"name": "ident", "datatype": "BYTES", "shape": [-1]},
    ]
    watch = make(monitors={"drift": LIVE}, inputs=inputs)
    for first in (0, 100):
        event = predictions(100, first=first)
        ids = np.array([f"id-{first + n}".encode() for n in range(100)], dtype=object)
        event.inputs["ident"] = ids
        watch.update(event, 1000)
    found = {f.subject: f for f in watch.findings(1000) if f.metric == "psi"}
    assert found["x[0]"].breached is False
    assert found["ident"].breached is None
    assert found["ident"].reason.startswith("not watched: ")


def test_answers_that_name_no_class_fail_only_those_who_need_one(make):
    watch = make(monitors={"drift": LIVE}, fairness=FAIRNESS)
    fine = predictions(150)
    watch.update(replace(fine, outputs={"p": np.zeros((150, 1), np.float32)}), 1000)
    assert {finding.monitor for finding in watch.findings(1000)} == {"drift", "quality"}
    failed = [note for note in watch.not_judged if "failed" in note]
    assert failed == [
        "fairness of model 'loans' failed: ValueError",
        "labels of model 'loans' failed: ValueError",
    ]
    watch.update(fine, 1000)
    assert not any("failed" in note for note in watch.not_judged)


def test_labels_do_not_keep_what_was_found_in_predictions_fresh(make):
    watch = make(monitors={"drift": None}, fairness={**FAIRNESS, "window": 100})
    event = predictions(100)
    watch.update(replace(event, sensitive_features={"sex": np.array(["f", "m"] * 50, object)}), 0)
    assert {f.breached for f in watch.findings(0) if f.monitor == "fairness"} == {None}
    later = 2 * HOUR
    watch.label([LabelEvent(f"r{n}", 0, 1, {"sex": "f"}) for n in range(10)], later)
    old = [finding for finding in watch.findings(later) if finding.monitor == "quality"]
    assert [finding.reason for finding in old] == ["stale: no rows for 2 hours; fine before that"]
    assert watch.state()["freshness"]["fed"] == {"fairness": 0, "quality": 0, "performance": later}


def test_brain_floats_are_judged_as_numbers(make):
    output = {"name": "p", "datatype": "BF16", "shape": [-1, 2]}
    watch = make(output, {"drift": LIVE})
    bits = np.array([[0x3F80, 0x7FC0]] * 3, np.uint16)  # 1 and NaN
    watch.update(replace(predictions(3, output), outputs={"p": bits}), 1000)
    (found,) = (finding for finding in watch.findings(1000) if finding.monitor == "quality")
    assert (found.value, found.breached) == (3, True)


def test_requests_without_known_answers_reach_the_monitors_of_inputs_alone(make):
    watch = make(monitors={"drift": LIVE}, fairness=FAIRNESS)
    for first in range(0, 200, 50):
        event = replace(predictions(50, first=first), outputs={})
        watch.asked(event, 0.0)
    monitors = {found.monitor for found in watch.findings(0.0)}
    assert monitors == {"drift"}
    assert "outputs of model 'loans' are not judged where only requests came" in watch.notes
    assert not any("failed" in note for note in watch.notes)
    assert [len(column) for column in watch.recent().values()] == [50]
