"""Integrated gradients of a model that is differentiable in its inputs."""

from __future__ import annotations

from explain.integrated_gradients import IntegratedGradients
from serving.config import ModelConfig
from serving.models.contract import Model


def build(config: ModelConfig, model: Model) -> IntegratedGradients:
    """Return the explainer of a model's own torch module; `config` has a section `explain`."""
    assert config.explain is not None
    return IntegratedGradients(
        model.module(),
        [spec.name for spec in config.inputs if not spec.sensitive],
        n_steps=config.explain.n_steps,
        max_relative_error=config.explain.max_completeness_error,
    )
