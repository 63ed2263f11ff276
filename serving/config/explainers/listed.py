"""Every explanation method: the only place that knows them by name.

A new one is a file with a function that builds it and an entry here. Of those that a model allows,
`auto` takes the first.
"""

from __future__ import annotations

from typing import Final

from serving.config.explainers.descriptor import Effort, ExplainerDescriptor

AUTO: Final = "auto"
MOST_STEPS: Final = 1024
MOST_SAMPLES: Final = 65536

EXPLAINERS: Final = (
    ExplainerDescriptor(
        name="integrated_gradients",
        build="serving.explaining.methods.integrated_gradients:build",
        needs_gradients=True,
        effort=Effort("n_steps", MOST_STEPS),
    ),
    ExplainerDescriptor(
        name="kernel_shap",
        build="serving.explaining.methods.kernel_shap:build",
        effort=Effort("n_samples", MOST_SAMPLES),
    ),
)


def explainer_named(name: str) -> ExplainerDescriptor:
    """Return the method of that name.

    Raises:
        KeyError: there is none.
    """
    for each in EXPLAINERS:
        if each.name == name:
            return each
    raise KeyError(name)


def method_names() -> list[str]:
    """Return what may be asked for, `auto` first."""
    return [AUTO, *(each.name for each in EXPLAINERS)]


def effort_names() -> list[str]:
    """Return the parameters by which requests say how much to compute."""
    return list(dict.fromkeys(each.effort.name for each in EXPLAINERS if each.effort))
