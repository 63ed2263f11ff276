"""From conditions in model.yaml to rows in slices, and findings that name them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monitors.performance.labels import LabelEvent
from serving.channel.messages.directory import ServedModel
from serving.config import ModelConfig
from serving.monitoring.event_decoding import PredictionEvent
from serving.monitoring.service import MonitoringService
from serving.monitoring.slice_membership import SliceMembership

OLD = "age > 60"
CONFIG: dict[str, Any] = {
    "format": "torch_export",
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2],
                "features": [{"name": "age"}, {"name": "income"}]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2], "classes": ["no", "yes"]}],
    "monitors": {
        "slices": [OLD, "income is missing"], "performance": {"min": 0.75},
        "drift": {"reference": "live", "reference_rows": 200, "window": 100},
        "quality": {"window": 100},
    },
    "fairness": {"sensitive": ["sex"], "favorable": "yes", "window": 100, "min_rows": 20,
                 "tolerance": {"demographic_parity_difference": 0.1}},
}  # fmt: skip


def config(**more: Any) -> ModelConfig:
    return ModelConfig.model_validate({**CONFIG, **more})


def test_rows_are_in_out_or_nobody_knows():
    told = SliceMembership(config()).groups(
        {"age": np.array([61.0, 60.0, np.nan]), "income": np.array([np.nan, 1.0, 2.0])}, 3
    )
    assert {name: values.tolist() for name, values in told.items()} == {
        "slice: age > 60": ["in", "out", None],
        "slice: income is missing": ["in", "out", "out"],
    }


def test_without_its_column_nobody_knows_who_is_in_a_slice():
    told = SliceMembership(config()).groups({"age": np.array([61.0])}, 1)
    assert told["slice: income is missing"].tolist() == [None]
    assert SliceMembership(config(monitors={})).groups({}, 1) == {}


@pytest.fixture
def service(tmp_path: Path) -> MonitoringService:
    made = MonitoringService(lambda: 1e6)
    raw = config().model_dump_json().encode()
    made.serve([ServedModel("loans", "1", raw, str(tmp_path))])
    return made


def show(service: MonitoringService, batches: int) -> None:
    """Old people are taken for the wrong class, and old women are all refused."""
    rng, watch = np.random.default_rng(0), service.watches.watch("loans", "1")
    for batch in range(batches):
        n, now = 100, 600.0 * batch
        age, truth = rng.uniform(20, 70, n), rng.random(n) < 0.5
        old, women = age > 60, rng.random(n) < 0.5
        yes = np.where(old, ~truth & ~women, truth)
        sex = np.empty(n, object)
        sex[:] = np.where(women, "F", "M")
        x = np.stack([age, rng.normal(size=n)], axis=1).astype(np.float32)
        scores = np.stack([~yes, yes], axis=1).astype(np.float32)
        idents = [f"r{batch}-{at}" for at in range(n)]
        index = np.zeros(n, np.int64)
        watch.update(
            PredictionEvent(now, idents, index, {"x": x}, {"y": scores}, {"sex": sex}), now
        )
        labels = [
            LabelEvent(ident, 0, "yes" if true else "no", {}, None)
            for ident, true in zip(idents, truth.tolist(), strict=True)
        ]
        watch.label(labels, now)


def test_performance_and_fairness_are_judged_of_a_slice_and_findings_name_it(service):
    show(service, 150)
    latest = service.watches.watch("loans", "1").findings(600.0 * 150)
    found = {(each.metric, each.segment): each for each in latest}
    assert found["accuracy", ""].breached is False
    assert found["accuracy", OLD].breached is True
    assert found["accuracy", OLD].value < 0.5
    assert found["demographic_parity_difference", OLD].breached is True
    assert found["drifted_features", OLD].breached is False
    # Nobody is without an income: that slice has no window.
    assert not [each for _, each in found if each == "income is missing"]


def test_the_budget_is_shared_and_what_is_watched_names_slices(service):
    show(service, 40)
    told = {each.monitor: each for each in service.watched("loans").monitors}
    for name, budget in {"drift": 6, "performance": 1, "fairness": 3, "data_quality": 3}.items():
        assert told[name].false_alarms_per_quarter == pytest.approx(budget)
        assert {each.segment for each in told[name].items} >= {"", OLD}
    whole, part = (
        next(e for e in told["performance"].items if (e.metric, e.segment) == ("accuracy", each))
        for each in ("", OLD)
    )
    assert (
        whole.false_alarms_per_quarter
        == part.false_alarms_per_quarter
        == pytest.approx(1 / 3, 1e-3)
    )
