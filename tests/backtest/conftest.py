"""A model version without weights, whose answers tests make up."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pytest

from monitors.reference.profile import ReferenceProfile
from serving.channel.messages.directory import ServedModel
from serving.channel.messages.incidents import Incident
from serving.config import ModelConfig
from serving.models.profile.columns import input_columns
from serving.roles.served_entry import served_entry

DESCRIBED = {
    "format": "torch_export",
    "inputs": [
        {"name": "x", "datatype": "FP32", "shape": [-1, 2],
         "features": [{"name": "income"}, {"name": "debt"}]},
    ],
    "outputs": [
        {"name": "p", "datatype": "FP32", "shape": [-1, 2], "classes": ["no", "yes"]},
    ],
    "monitors": {
        "drift": {"window": 200},
        "performance": {"thresholds": {"accuracy": 0.7}},
        "incidents": {"warm_up_s": 1e9},  # which is over when the past begins
    },
    "fairness": {"sensitive": ["sex"], "favorable": "yes"},
}  # fmt: skip


@pytest.fixture
def config() -> ModelConfig:
    return ModelConfig.model_validate(DESCRIBED)


@pytest.fixture
def served(tmp_path: Path, config: ModelConfig) -> ServedModel:
    folder = tmp_path / "loans" / "1"
    (folder / "profile").mkdir(parents=True)
    rows = {"x": np.random.default_rng(1).normal(size=(2000, 2)).astype(np.float32)}
    profile = ReferenceProfile.fit(input_columns(rows, config))
    (folder / "profile" / "drift.json").write_bytes(msgspec.json.encode(profile.to_dict()))
    return ServedModel("loans", "1", config.model_dump_json().encode(), str(folder))


@pytest.fixture
def entry(served: ServedModel):
    return served_entry(served)


@pytest.fixture
def make_incident(make_incident: Callable[..., Incident]) -> Callable[..., Incident]:
    return partial(make_incident, model="m")
