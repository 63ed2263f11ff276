"""The extension point of this package: one small Protocol, batch-first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from guards.decisions import Decisions


class Guard(Protocol):
    """A synchronous judge of rows."""

    @property
    def name(self) -> str:
        """The name it has in the configuration."""

    @property
    def needs_features(self) -> bool:
        """Whether `check` must be given the model's penultimate activations."""

    def check(self, inputs: Mapping[str, np.ndarray], features: np.ndarray | None) -> Decisions:
        """Judge a batch.

        Args:
            inputs: arrays by input name, first axis n rows; not written to.
            features: penultimate activations [n, width], or None.
        """
