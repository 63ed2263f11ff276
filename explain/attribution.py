"""The result of an explanation, and the extension point that makes one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np


@dataclass(frozen=True, slots=True)
class Attribution:
    """Attributions of n rows.

    Attributes:
        method: name of the method, for example `integrated_gradients`.
        values: by input name, same shape as the input.
        target: index of the explained class or output per row, int64 [n].
        baselines: by input name, same shape as the input.
        convergence_delta: per row, float64 [n]: sum of the attributions minus
            (output at the input minus output at the baseline).
        relative_error: |convergence_delta| over |output difference|, float64 [n].
        effort: how much was computed, each number by the name that the method has for it.
    """

    method: str
    values: Mapping[str, np.ndarray]
    target: np.ndarray
    baselines: Mapping[str, np.ndarray]
    convergence_delta: np.ndarray
    relative_error: np.ndarray
    effort: Mapping[str, int] = field(default_factory=dict)


class IncompleteAttribution(Exception):
    """The attributions do not add up to what they explain; the message names the delta."""


class CannotExplain(ValueError):
    """What was asked for cannot be used; the message says what.

    Other errors, `ValueError` included, are the model's.
    """


class ExplanationTooLong(Exception):
    """The explanation was given up because it took too long; the message says what to change."""


class Explainer(Protocol):
    """One attribution method bound to one private copy of one model."""

    def explain(
        self,
        inputs: Mapping[str, np.ndarray],
        target: Sequence[int] | None = None,
        baselines: Mapping[str, np.ndarray] | None = None,
        effort: int | None = None,
        /,
    ) -> Attribution:
        """Attribute a batch of rows.

        Args:
            inputs: arrays by input name, first axis n rows.
            target: class index per row; None explains the predicted class.
            baselines: by input name; None takes the method's default.
            effort: in the method's own unit, steps or samples; None takes the configured number.

        Raises:
            IncompleteAttribution: the completeness error stays above the tolerance.
            ExplanationTooLong: it was given up.
            CannotExplain: something cannot be used; the message says what.
        """
