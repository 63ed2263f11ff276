"""What Vigil knows of an explanation method; configuration, gateways and explainers go by it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Effort:
    """How much a method computes for one explanation, as a request may ask.

    Attributes:
        name: of the request's parameter; where the section `explain` has such a key, the number
            without it.
        most: the largest that a request may ask for.
    """

    name: str
    most: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainerDescriptor:
    """One method.

    Attributes:
        name: what `explain.method` and requests call it.
        build: `module:function`, which takes a model's configuration and a private copy of the
            model and returns an explainer (`serving.explaining.methods.offered.Build`). Resolved
            by the first explainer of a model that allows the method.
        needs_gradients: it needs a torch module that is differentiable in its inputs; else it
            needs predictions only, which every model gives.
        effort: what it costs; None where a request has no say.
    """

    name: str
    build: str
    needs_gradients: bool = False
    effort: Effort | None = None
