"""What the server knows about a kind of guard."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from guards.guard import Guard, Stage
from serving.config.guards.section import GuardSection
from serving.config.section import ConfigError
from serving.config.tensor_specs import InputSpec, OutputSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardSource:
    """What a guard is built from beside its section.

    Attributes:
        inputs, outputs: the model's, as its configuration has them.
        learned: what `fit` gave when the version was profiled; empty for a guard without `fit`.
    """

    inputs: Sequence[InputSpec]
    outputs: Sequence[OutputSpec]
    learned: Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceRows:
    """Rows that a guard learns from, and what the model makes of them.

    Attributes:
        inputs: arrays by input name, first axis n rows.
        outputs: arrays by output name.
        features: penultimate activations [n, width]; None where the model gives none, which
            a guard of stage `features` need not expect.
        classes: number of the class of each row [n]: the true one, or else the predicted one; None
            where neither is known.
    """

    inputs: Mapping[str, np.ndarray]
    outputs: Mapping[str, np.ndarray]
    features: np.ndarray | None
    classes: np.ndarray | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardDescriptor:
    """One kind of guard. Its library is imported when `build` or `fit` is called.

    Attributes:
        section: its section in `model.yaml`.
        stage: what it judges, and with it where it runs.
        build: makes one of its section and what a model version has for it. Raises `KeyError`,
            `ValueError`, `TypeError` or `IndexError` where `learned` is not what `fit` gave.
        fit: learns from reference rows and from rows held out of them, and returns arrays to be
            kept beside the version; None for a guard that learns nothing. Raises `ValueError` with
            what is wrong with the rows.
        check: raises `ValueError` where the section does not go together with the model's inputs,
            with its key and what is wrong; None for a guard that any inputs go together with.
    """

    section: type[GuardSection]
    stage: Stage
    build: Callable[[Any, GuardSource], Guard]
    fit: Callable[[Any, ReferenceRows, ReferenceRows], dict[str, np.ndarray]] | None = None
    check: Callable[[Any, Sequence[InputSpec]], None] | None = None

    @property
    def name(self) -> str:
        """What chooses it in `model.yaml`, and what it is called in metrics and messages."""
        return str(get_args(self.section.model_fields["name"].annotation)[0])

    @property
    def in_replica(self) -> bool:
        """Whether it runs beside the model: gateways have neither the model nor its files."""
        return self.stage.needs_model or self.fit is not None


def lacks_features(model: str, guard: str) -> ConfigError:
    """Return what is said of a model that a guard cannot judge."""
    return ConfigError(
        f"model '{model}': the guard {guard} needs features, which this model does not give; see "
        "forward_with_features, or take the guard out of model.yaml"
    )
