"""What each combination of monitors makes of predictions and labels."""

import dataclasses
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitors.fairness.group_bounds import MOST_GROUPS
from monitors.finding import Finding
from monitors.performance.forgotten_keys import ForgottenKeys
from monitors.performance.labels import LabelEvent
from monitors.performance.metrics.class_counts import ClassCounts
from monitors.windows.aged_blocks import unpacked
from serving.channel.messages.findings import Unjudged
from serving.channel.messages.observation import LabelCounts
from serving.config import ModelConfig
from serving.errors import InvalidInput, Unsupported
from serving.models.repository.folder import ModelEntry
from serving.monitoring.event_decoding import PredictionEvent
from serving.monitoring.long_texts import LongTexts
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
NUMBERS = ("regression", "numbers")
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
        return ModelMonitors(entry, series or SeriesSet(), ForgottenKeys(), [].append)

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


def with_thresholds(watch: ModelMonitors, now: float) -> list[Finding]:
    return [finding for finding in watch.findings(now) if finding.threshold is not None]


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
    takes = classifier or kind in NUMBERS
    if not takes or (performance is None and fairness is None):
        reason = "monitors.performance is null" if takes else "labels are of classes"
        with pytest.raises(Unsupported, match=f"takes no labels: .*{reason}"):
            watch.check_labels(labels(1))
        with pytest.raises(Unsupported, match="takes no labels"):
            watch.label(labels(1), 1000)
        return
    assert watch.label(labels(150), 1000) == LabelCounts(accepted=150)
    assert watch.label(labels(200), 1000) == LabelCounts(accepted=50, duplicate=150)
    found = accuracies(watch, 1000)
    if performance is None or not classifier:
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
    judged = {(one.monitor, one.breached) for one in with_thresholds(watch, 1000 + HOUR)}
    assert judged == {
        ("drift", True),
        ("prediction_drift", False),
        ("performance", True),
        ("quality", False),
    }
    watch.refresh(1000 + HOUR)
    gauges = [one.name for one in series.snapshot() if one.kind == "gauge"]
    assert "vigil.drift.score" in gauges

    later = 1000 + 5 * HOUR
    found = with_thresholds(watch, later)
    assert {one.breached for one in found} == {None}
    assert {(one.monitor, one.reason) for one in found} == {
        ("drift", "stale: no rows for 5 hours; breached before that"),
        ("prediction_drift", "stale: no rows for 5 hours; fine before that"),
        ("performance", "stale: no labels for 5 hours; breached before that"),
        ("quality", "stale: no rows for 5 hours; fine before that"),
    }
    watch.refresh(later)
    kept = [one.name for one in series.snapshot() if one.kind == "gauge"]
    assert kept == ["vigil.labels.coverage", "vigil.performance.overall"]

    watch.update(predictions(1, first=200), later)
    watch.label(labels(1, first=200), later)
    assert {one.breached for one in watch.findings(later)} == {None}
    watch.update(predictions(199, first=201), later)
    watch.label(labels(199, first=201), later)
    assert False in {one.breached for one in watch.findings(later)}
    assert not any(one.breached is None for one in with_thresholds(watch, later))


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


@pytest.mark.parametrize("lost", [False, True])
def test_a_monitor_whose_long_text_is_lost_begins_anew_and_says_so(make, tmp_path, lost):
    watch = make(monitors={"drift": LIVE})
    x = np.random.default_rng(0).normal(size=(200, 1)).astype(np.float32)
    watch.update(predictions(200, x=x), 1000)
    texts = LongTexts(tmp_path, "monitor")
    short, long = texts.shorten(watch.state())
    texts.write(long)
    assert long
    for path in texts.paths() if lost else ():
        path.unlink()
    other = make(monitors={"drift": LIVE})
    other.restore(LongTexts(tmp_path, "monitor").lengthen(json.loads(json.dumps(short))))
    anew = {note.split(" of ")[0] for note in other.not_judged if "began anew" in note}
    assert ("drift" in anew) is lost
    assert "quality" not in anew


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
        (
            "estimated performance of model 'loans' is not watched: the profile has too few "
            "labelled rows with scores or numbers; run `vigil profile loans --data FILE --label "
            "COLUMN`, or set monitors.estimation to null in its model.yaml"
        ),
    ]
    assert watch.unjudged == [
        Unjudged("loans", "1", name, "waiting", f"no window of {of}rows is full yet")
        for name, of in (("quality", ""), ("performance", "labelled "))
    ]
    unprofiled = make()
    assert "the version has no profile" in unprofiled.not_judged[0]
    assert make(monitors={"drift": LIVE}).notes[0].endswith("collecting reference: 0 of 100 rows")


def test_texts_that_are_no_categories_are_watched_by_length_and_words(make):
    inputs = [
        {"name": "x", "datatype": "FP32", "shape": [-1, 1]},
        {"name": "ident", "datatype": "BYTES", "shape": [-1]},
    ]
    watch = make(monitors={"drift": LIVE}, inputs=inputs)
    for first, prefix in ((0, "id"), (200, "id"), (300, "number")):
        event = predictions(100, first=first)
        ids = np.array([f"{prefix}-{1000 + first + n}".encode() for n in range(100)], dtype=object)
        event.inputs["ident"] = ids
        watch.update(event, 1000)
        found = {f.subject: f for f in watch.findings(1000) if f.metric == "psi"}
        if first:
            assert found["x[0]"].breached is False
            assert found["ident"].breached is (prefix == "number")
    assert found["ident"].detail["moved"] == "outside the reference's range"


def test_answers_that_name_no_class_fail_only_those_who_need_one(make):
    watch = make(monitors={"drift": LIVE}, fairness=FAIRNESS)
    fine = predictions(150)
    watch.update(replace(fine, outputs={"p": np.zeros((150, 1), np.float32)}), 1000)
    judged = {finding.monitor for finding in watch.findings(1000)}
    assert judged == {"drift", "prediction_drift", "quality"}
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
    reasons = {finding.reason for finding in old if finding.metric == "non_finite_rows"}
    assert reasons == {"stale: no rows for 2 hours; fine before that"}
    assert watch.state()["freshness"]["fed"] == {
        "fairness": 0, "quality": 0, "performance": later, "fairness/labels": later,
    }  # fmt: skip


def test_predictions_do_not_keep_what_was_found_in_labels_fresh(make):
    series, tolerance = SeriesSet(), {"equal_opportunity_difference": 0.1}
    fairness = {**FAIRNESS, "window": 100, "tolerance": tolerance}
    watch = make(monitors={"drift": None}, fairness=fairness, series=series)
    sex = {"sex": np.array(["f", "m"] * 100, object)}
    watch.update(replace(predictions(200), sensitive_features=sex), 0)
    watch.label([LabelEvent(f"r{n}", 0, 1) for n in range(200)], 0)

    def odds(now):
        (found,) = (f for f in watch.findings(now) if f.metric == "equal_opportunity_difference")
        return found

    assert odds(0).breached is False
    event = replace(predictions(200, first=500), sensitive_features=sex)
    watch.update(event, 2 * HOUR)
    found = odds(2 * HOUR)
    assert (found.breached, found.reason) == (
        None,
        "stale: no labels for 2 hours; fine before that",
    )
    watch.refresh(2 * HOUR)
    assert odds(2 * HOUR).breached is None
    values = [s for s in series.snapshot() if s.name == "vigil.finding.value"]
    metrics = {
        dict(s.attributes)["metric"] for s in values if ("monitor", "fairness") in s.attributes
    }
    assert metrics == {"demographic_parity_difference", "demographic_parity_ratio"}


def test_errors_of_numbers_are_compared_between_groups(make):
    tolerance = {"mae_difference": 0.5, "mean_error_difference": 0.5}
    fairness = {"sensitive": ["sex"], "window": 100, "min_rows": 20, "tolerance": tolerance}
    watch = make(KINDS["numbers"], {"drift": None, "performance": None}, fairness)
    rng = np.random.default_rng(1)
    sex = np.array(["f", "m"] * 1000, object)
    event = replace(predictions(2000, KINDS["numbers"]), sensitive_features={"sex": sex})
    watch.update(event, 0)
    before = [found for found in watch.findings(0) if found.monitor == "fairness"]
    assert {found.reason for found in before} == {"no window of labelled rows is full yet"}
    # All answers are 1; those of one group are too low by 2.
    truths = 1 + rng.normal(size=2000) / 2 + 2 * (sex == "f")
    watch.label([LabelEvent(f"r{at}", 0, truth) for at, truth in enumerate(truths.tolist())], 0)
    found = {each.metric: each for each in watch.findings(0) if each.monitor == "fairness"}
    assert found.keys() == {"mae_difference", "mae_ratio", "mean_error_difference"}
    assert found["mean_error_difference"].breached
    assert found["mean_error_difference"].value == pytest.approx(2, abs=0.1)
    assert found["mae_difference"].breached
    assert found["mae_ratio"].breached is None
    again = make(KINDS["numbers"], {"drift": None, "performance": None}, fairness)
    again.restore(watch.state())
    restored = {each.metric: each for each in again.findings(0) if each.monitor == "fairness"}
    assert repr(restored) == repr(found)


def test_calibration_is_compared_between_groups(make):
    output = {**KINDS["scores"], "classes": ["no", "yes"]}
    fairness = {**FAIRNESS, "window": 500, "tolerance": {"calibration_difference": 0.2}}
    watch = make(output, {"drift": None}, fairness)
    sex = np.array(["f", "m"] * 1000, object)
    event = replace(predictions(2000, output), sensitive_features={"sex": sex})
    watch.update(event, 0)
    # All have a probability of .9, and of one group half are favorable.
    truths = np.where((sex == "f") & (np.arange(2000) % 4 == 0), 0, 1)
    watch.label([LabelEvent(f"r{at}", 0, truth) for at, truth in enumerate(truths.tolist())], 0)
    (found,) = (each for each in watch.findings(0) if each.metric == "calibration_difference")
    assert found.value == pytest.approx(0.5, abs=0.01)
    assert found.breached


def test_brain_floats_are_judged_as_numbers(make):
    output = {"name": "p", "datatype": "BF16", "shape": [-1, 2]}
    watch = make(output, {"drift": LIVE})
    bits = np.array([[0x3F80, 0x7FC0]] * 3, np.uint16)  # 1 and NaN
    watch.update(replace(predictions(3, output), outputs={"p": bits}), 1000)
    (found,) = (finding for finding in watch.findings(1000) if finding.monitor == "quality")
    assert (found.value, found.breached) == (3, True)


HAPPENS = st.one_of(
    st.tuples(st.just("predicted"), st.integers(0, 7)),
    st.tuples(
        st.just("labelled"), st.integers(0, 7), st.integers(0, 1), st.sampled_from([None, "f", "m"])
    ),
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(HAPPENS, max_size=40))
def test_any_order_of_labels_counts_as_the_last_ones_alone(make, happens):
    watch = make(monitors={"drift": None}, fairness=FAIRNESS)
    predicted, truths, sexes = set(), {}, {}
    for what, row, *label in happens:
        if what == "predicted" and row not in predicted:
            predicted.add(row)
            watch.update(predictions(1, first=row), 1000)
        elif what == "labelled":
            truth, sex = label
            truths[row] = truth
            sexes[row] = sex or sexes.get(row)
            told = {} if sex is None else {"sex": sex}
            counts = watch.label([LabelEvent(f"r{row}", 0, truth, told)], 1000)
            assert counts.accepted + counts.duplicate + counts.unknown == 1
    joined = predicted & truths.keys()
    state = watch.state()
    assert state["performance"]["window"]["rows"] == len(joined)
    blocks = state["performance"]["pooled"]["blocks"]["blocks"]
    right = sum(truths[row] == 1 for row in joined)
    assert [
        unpacked(sums, ClassCounts(2, 1, scored=True).columns)[:2].tolist() for *_, sums in blocks
    ] == ([[len(joined), right]] if joined else [])
    groups = [sexes[row] for row in joined if sexes[row]]
    expected = {sex: [0, groups.count(sex)] for sex in set(groups)}
    predictions_by = state["fairness"]["predicted"]["groups"]["sex"]
    size = 2 * (MOST_GROUPS + 1)
    blocks = [unpacked(packed, size) for *_, packed in predictions_by["blocks"]["blocks"]]
    total = np.sum(blocks, axis=0).reshape(-1, 2).tolist() if blocks else []
    counted = {sex: total[at] for sex, at in predictions_by["places"].items()}
    assert {sex: counts for sex, counts in counted.items() if any(counts)} == expected


def test_a_correction_revises_the_latest_finding(make):
    watch = make(monitors={"drift": None, "performance": {"min": 0.9}})
    watch.update(predictions(200), 1000)
    watch.label(labels(200), 1000)
    (found,) = accuracies(watch, 1000)
    assert (found.value, found.breached, found.revised) == (1, False, 0)
    assert watch.label(labels(100, truth=0), 1001) == LabelCounts(accepted=100)
    (found,) = accuracies(watch, 1001)
    assert (found.value, found.breached, found.revised) == (0.5, True, 100)


def test_errors_of_numbers_are_judged_and_revised(make):
    output = {"name": "p", "datatype": "FP32", "shape": [-1, 1]}
    watch = make(output, {"drift": None, "performance": {"metric": "rmse", "max": 0.5}})
    assert "error of model 'loans': no verdict yet, 0 of 200 labelled rows" in watch.not_judged
    event = replace(predictions(200, output), outputs={"p": np.full((200, 1), 2, np.float32)})
    watch.update(event, 1000)
    assert watch.label(labels(200, truth=2), 1000) == LabelCounts(accepted=200)
    found = {f.metric: (f.value, f.breached) for f in watch.findings(1000) if f.subject == ""}
    assert math.isnan(found.pop("r2")[0])
    assert found == {"mae": (0, None), "rmse": (0, False)}
    assert watch.label(labels(100, truth=4), 1001) == LabelCounts(accepted=100)
    (mae,) = (f for f in watch.findings(1001) if f.metric == "mae")
    (rmse,) = (f for f in watch.findings(1001) if f.metric == "rmse")
    assert (mae.value, mae.breached, mae.revised) == (1, None, 100)
    assert (rmse.value, rmse.breached) == (pytest.approx(2**0.5), True)


@pytest.mark.parametrize(
    ("output", "metric", "wrong", "sentence"),
    [
        (
            CLASSES,
            "auto",
            "maybe",
            "a class name ('no', 'yes') or a class index from 0 to 1, or tr",
        ),
        (KINDS["regression"], "auto", "yes", "must be a number; it is the text 'yes'"),
        (KINDS["regression"], "auto", True, "must be a number; it is true"),
        (KINDS["scores"], "mae", [1.0], "must be a list of 2 numbers; it is a list of 1"),
        (KINDS["scores"], "ndcg", 2, "a list of 2 relevances, each 0 or more, or the index of the"),
    ],
)
def test_a_label_of_another_kind_is_told_what_the_model_takes(
    make, output, metric, wrong, sentence
):
    watch = make(output, {"drift": None, "performance": {"metric": metric}})
    watch.update(predictions(2, output), 1000)
    right = {"auto": 1, "mae": [1.0, 2.0], "ndcg": 1}[metric]
    pushed = [LabelEvent("r0", 0, right), LabelEvent("r1", 0, wrong)]
    with pytest.raises(InvalidInput, match=r"^labels: y_true of 'r1', row 0 must be ") as refused:
        watch.label(pushed, 1000)
    assert sentence in refused.value.message
    assert watch.label(pushed[:1], 1000) == LabelCounts(accepted=1)


def test_what_becomes_of_labels_is_in_the_metrics(make):
    series = SeriesSet()
    watch = make(monitors={"drift": None}, fairness=FAIRNESS, series=series)
    sexes = np.array(["f"] * 40 + ["m"] * 10, object)
    watch.update(replace(predictions(50), sensitive_features={"sex": sexes}), 1000)
    watch.label([*labels(20), *labels(5), *labels(10, truth=0), *labels(1, first=70)], 1060)
    watch.refresh(1060)
    found: dict[str, list[float]] = {}
    for one in series.snapshot():
        found.setdefault(one.name, []).append(one.value)
    assert found["vigil.labels.received"] == [30, 5, 1, 0]
    assert found["vigil.labels.corrected"] == [10]
    assert found["vigil.labels.coverage"] == [0.4]
    # Nobody has named the groups of `sex`, so clients cannot make series.
    assert found["vigil.labels.coverage.by_group"] == [0.4]
    assert found["vigil.labels.delay"] == found["vigil.labels.delay.by_group"] == [20 * 60]
    assert found["vigil.performance.overall"] == [0.5]
    assert found["vigil.labels.expired"] == [0]
    watch.refresh(1060 + 2 * HOUR)
    expired = [one.value for one in series.snapshot() if one.name == "vigil.labels.expired"]
    assert expired == [1]
    state, entries = json.loads(json.dumps([watch.state(), list(watch.entries())]))
    fresh = SeriesSet()
    other = make(monitors={"drift": None}, fairness=FAIRNESS, series=fresh)
    other.restore_entries(entries)
    other.restore(state)
    other.refresh(1060 + 2 * HOUR)
    again = {one.name: one.value for one in fresh.snapshot()}
    assert again["vigil.labels.expired"] == 0  # it is in the totals of the process before
    assert again["vigil.performance.overall"] == 0.5
    assert again["vigil.labels.coverage"] == 0.4


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


def test_labels_of_wanted_rows_still_tell_how_good_the_model_is(make):
    """Of a model that is right in 90 % of the rows, the hard ones are labelled first."""
    rng = np.random.default_rng(0)
    stated = np.where(rng.random(4000) < 0.7, 0.99, 0.69)
    right = rng.random(4000) < stated
    assert right.mean() == pytest.approx(0.9, abs=0.01)
    scores = np.column_stack((1 - stated, stated)).astype(np.float32)
    watch = make(monitors={"drift": None, "performance": {"min": 0.5}})
    event = dataclasses.replace(predictions(4000), outputs={"p": scores})
    watch.update(event, 1000)
    ordered = watch.order_labels(500, 7, 1000)
    truths = {f"r{at}": int(one) for at, one in enumerate(right.tolist())}
    told = [LabelEvent(each.key[0], 0, truths[each.key[0]]) for each in ordered.wanted]
    assert np.mean([each.y_true for each in told]) < 0.88
    assert watch.label(told, 1000).accepted == len(told)
    (accuracy,) = accuracies(watch, 1000)
    assert accuracy.n_current == 200
    assert accuracy.ci[0] < 0.9 < accuracy.ci[1]
    again = [dataclasses.replace(each, y_true=1 - each.y_true) for each in told]
    chosen = {each.key[0] for each in ordered.wanted if not each.at_random}
    watch.label([each for each in again if each.request_id in chosen], 1000)
    assert accuracies(watch, 1000) == [accuracy]


def test_orders_of_labels_outlive_a_restart_and_are_forgotten_with_their_requests(make):
    watch, other = make(monitors={"drift": None}), make(monitors={"drift": None})
    watch.update(predictions(300), 1000)
    ordered = watch.order_labels(100, 7, 1000)
    state, entries = json.loads(json.dumps([watch.state(), list(watch.entries())]))
    other.restore_entries(entries)
    other.restore(state)
    assert other.order_labels(50, 8, 1000) == watch.order_labels(50, 8, 1000)
    assert state["labels"]["orders"]
    watch.forget_requests({each.key[0] for each in ordered.wanted}, 10**9)
    left = {ident for ident, *_ in watch.state()["labels"]["orders"]}
    assert left.isdisjoint({each.key[0] for each in ordered.wanted})
