"""Guards of a model version: which of them run where, and with what they learned and are set to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from guards.rows import Rows
from serving.config import ConfigError, ModelConfig
from serving.models.contract import Capabilities
from serving.models.guards.build import build_guard, gateway_guards, replica_guards
from serving.models.repository.folder import ModelEntry

FEATURES = Capabilities(features=True)


def config(*guards: Any, log: Any = None, **more: Any) -> ModelConfig:
    return ModelConfig.model_validate({
        "format": "torch_export",
        "inputs": [
            {"name": "x", "datatype": "FP32", "shape": [-1, 2], "min": 0},
            {"name": "group", "datatype": "BYTES", "shape": [-1], "sensitive": True},
        ],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
        "guards": list(guards),
        "log": log,
        **more,
    })  # fmt: skip


def entry(folder: Path, *guards: Any, **learned: Any) -> ModelEntry:
    made = ModelEntry("loans", "1", folder, config(*guards))
    if learned:
        made.profile.mkdir()
        np.savez(made.profile / "mahalanobis.npz", **learned)
    return made


def learned() -> dict[str, np.ndarray]:
    return {"means": np.eye(2), "whitening": np.eye(2), "threshold": np.array([0.5])}


BOTH = ({"name": "mahalanobis", "on_error": "closed"}, {"name": "schema", "action": "reject"})


def test_each_guard_runs_in_one_place(tmp_path: Path) -> None:
    made = entry(tmp_path, *BOTH, **learned())
    assert gateway_guards(made.config).names == ("schema",)
    assert replica_guards(made, FEATURES).names == ("mahalanobis",)
    assert gateway_guards(config()).names == ()
    assert replica_guards(entry(tmp_path), Capabilities()).names == ()


def test_a_guard_of_the_gateway_knows_the_inputs_that_the_model_sees() -> None:
    guards = gateway_guards(config({"name": "schema", "action": "reject"}))
    (outcome,) = guards.run(Rows(2, {"x": np.array([[1, 2], [1, -2]], np.float32)}))
    assert outcome.rows == ((1, 3, "input 'x': value 1 of a row must be at least 0"),)
    assert outcome.failure is None


def test_settings_of_the_section_are_those_of_the_guard(tmp_path: Path) -> None:
    made = entry(tmp_path, *BOTH, **learned())
    (outcome,) = replica_guards(made, FEATURES).run(Rows(2))
    assert [action for _, action, _ in outcome.rows] == [3, 3]  # closed
    budget = {"name": "schema", "budget_ms": 1e-6, "on_error": "closed"}
    guards = gateway_guards(config(budget))
    told = [guards.run(Rows(1, {"x": np.ones((1, 2), np.float32)}))[0].failure for _ in range(4)]
    assert [failure.reason for failure in told if failure] == ["late"] * 3 + ["skipped"]


@pytest.mark.parametrize(
    ("log", "kept"), [(None, False), ({"capture": "none"}, False), ({"capture": "features"}, True)]
)
def test_scores_are_for_a_log_that_keeps_values(tmp_path: Path, log: Any, kept: bool) -> None:
    made = entry(tmp_path, *BOTH, **learned())
    made = replace(made, config=config(*BOTH, log=log, monitors={"guard_rate": None}))
    (outcome,) = replica_guards(made, FEATURES).run(
        Rows(2, features=np.array([[1, 0], [-1, 0]], np.float32))
    )
    assert outcome.failure is None
    assert (outcome.scores is not None) == kept
    assert gateway_guards(made.config)._scores == kept


def test_scores_are_for_whoever_watches_the_rates_of_guards(tmp_path: Path) -> None:
    made = entry(tmp_path, *BOTH, **learned())
    assert replica_guards(made, FEATURES)._scores
    unrated = entry(tmp_path, {"name": "schema"})
    assert not gateway_guards(unrated.config)._scores


def test_what_was_learned_comes_back(tmp_path: Path) -> None:
    made = entry(tmp_path, *BOTH, **learned())
    guard = build_guard(made, made.config.guards[0])
    features = np.array([[1, 0], [-1, 0]], np.float32)
    assert guard.check(Rows(2, features=features)).action.tolist() == [0, 2]


def test_a_guard_without_a_profile_says_how_it_gets_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="mahalanobis has no profile; run `vigil profile loans"):
        replica_guards(entry(tmp_path, *BOTH), FEATURES)


@pytest.mark.parametrize(
    "change",
    [
        {"means": None}, {"threshold": np.empty(0)}, {"whitening": np.array("text")},
        {"whitening": np.eye(3)},
    ],
    ids=["missing", "empty", "text", "another width"],
)  # fmt: skip
def test_a_profile_of_something_else_is_named(tmp_path: Path, change: Any) -> None:
    arrays = {name: array for name, array in {**learned(), **change}.items() if array is not None}
    made = entry(tmp_path, *BOTH, **arrays)
    with pytest.raises(ConfigError, match=r"mahalanobis\.npz: damaged .*run `vigil profile` again"):
        replica_guards(made, FEATURES)


def test_a_model_without_features_is_refused_before_it_serves(tmp_path: Path) -> None:
    made = entry(tmp_path, *BOTH, **learned())
    with pytest.raises(ConfigError, match="'loans': the guard mahalanobis needs features, which"):
        replica_guards(made, Capabilities())
