"""Which methods can explain a model."""

from __future__ import annotations

from collections.abc import Callable
from pkgutil import resolve_name

from explain.attribution import Explainer
from serving.config import ModelConfig
from serving.config.explainers import listed
from serving.models.contract import Model

Build = Callable[[ModelConfig, Model], Explainer]
"""Makes the method's explainer of a model whose configuration has a section `explain`."""


def explainers(config: ModelConfig, model: Model) -> dict[str, Explainer]:
    """Return the explainers that a model allows by their method's name, the best one first.

    Args:
        config: of the model; without a section `explain` there are none.
        model: a copy that nobody else uses.
    """
    if config.explain is None:
        return {}
    has_gradients = model.capabilities.module and model.capabilities.differentiable
    found: dict[str, Explainer] = {}
    for each in listed.EXPLAINERS:
        if has_gradients or not each.needs_gradients:
            # Only now, so that an explainer imports what its model's methods need and no more.
            build: Build = resolve_name(each.build)
            found[each.name] = build(config, model)
    return found
