"""The list of guards, and what a model may make of it."""

from __future__ import annotations

from typing import Any

import pytest

from guards.guard import Stage
from serving.config import GUARDS, ConfigError, ModelConfig, descriptor_of, parse

X = {"name": "x", "datatype": "FP32", "shape": [-1, 3]}


def model(guards: Any, **more: Any) -> ModelConfig:
    raw = {"format": "torch_export", "inputs": [X], "outputs": [X], "guards": guards, **more}
    return parse(ModelConfig, raw, "model.yaml")


def test_each_kind_has_a_name_of_its_own_by_which_it_is_chosen() -> None:
    names = [each.name for each in GUARDS]
    assert len(set(names)) == len(names) > 0
    chosen = model([{"name": name} for name in names]).guards
    assert [descriptor_of(section) for section in chosen] == list(GUARDS)


def test_a_configuration_comes_back_from_its_json() -> None:
    made = model([{"name": "mahalanobis", "false_positive_rate": 0.2}, {"name": "schema"}])
    assert ModelConfig.model_validate_json(made.model_dump_json()) == made


def test_what_needs_the_model_or_its_files_runs_beside_it() -> None:
    for each in GUARDS:
        assert each.in_replica or not each.stage.needs_model
        assert each.in_replica or each.fit is None
    assert [stage for stage in Stage if stage.needs_model] == [Stage.FEATURES, Stage.OUTPUT]


@pytest.mark.parametrize(
    ("guards", "more", "why"),
    [
        ([{"name": "nobody"}], {}, "'schema'"),
        ([{"name": "schema"}, {"name": "schema"}], {}, "guards: schema stands there twice; take"),
        ([{"name": "schema", "budget_ms": 0}], {}, "guards.0.schema.budget_ms: "),
        ([{"name": "schema", "budget_ms": float("nan")}], {}, "guards.0.schema.budget_ms: "),
        ([{"name": "schema", "on_error": "ajar"}], {}, "'open' or 'closed'"),
        (
            [{"name": "mahalanobis"}],
            {"batching": {"join": False}},
            "guards: mahalanobis judges each row by itself",
        ),
        (
            [{"name": "mahalanobis"}],
            {"format": "remote", "remote": {"url": "grpc://h:1"}},
            "guards: mahalanobis needs features, which format remote has not",
        ),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(guards: Any, more: Any, why: str) -> None:
    with pytest.raises(ConfigError) as told:
        model(guards, **more)
    assert why in str(told.value)


@pytest.mark.parametrize(
    "more",
    [{"batching": {"join": False}}, {"format": "remote", "remote": {"url": "grpc://h:1"}}],
)
def test_a_guard_that_needs_no_model_is_for_every_model(more: Any) -> None:
    assert model([{"name": "schema"}], **more).guards[0].name == "schema"
