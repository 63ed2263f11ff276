"""The extension point of this package: what a guard is, what it judges, and what it must see."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

from guards.decisions import Action, Decisions
from guards.rows import Rows


class Stage(Enum):
    """What a guard judges, and with it when: those that need no model judge before it computes."""

    INPUT = "input"
    """The values of a row."""
    CLIENT = "client"
    """Who asks, and how often."""
    FEATURES = "features"
    """What the model makes of a row, its penultimate activations."""
    OUTPUT = "output"
    """What the model answers."""

    @property
    def needs_model(self) -> bool:
        """Whether the model must have computed the row."""
        return self in (Stage.FEATURES, Stage.OUTPUT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What must be in the `Rows` that a guard is shown.

    Attributes:
        inputs: the model's inputs.
        features: its penultimate activations.
        outputs: its outputs.
        requests: which requests the rows are of.
    """

    inputs: bool = False
    features: bool = False
    outputs: bool = False
    requests: bool = False


OFFERED: Final = {
    Stage.INPUT: Needs(inputs=True, requests=True),
    Stage.CLIENT: Needs(inputs=True, requests=True),
    Stage.FEATURES: Needs(inputs=True, features=True),
    Stage.OUTPUT: Needs(inputs=True, features=True, outputs=True),
}
"""What there is at each stage; the order is that in which they are run."""


class Guard(Protocol):
    """A synchronous judge of rows. Not thread-safe; belongs to one runner."""

    @property
    def name(self) -> str:
        """The name it has in the configuration."""

    @property
    def stage(self) -> Stage:
        """What it judges; always the same."""

    @property
    def needs(self) -> Needs:
        """What it must be shown; nothing that its stage does not offer."""

    @property
    def action(self) -> Action:
        """What happens to a row that it does not let pass."""

    def check(self, rows: Rows) -> Decisions:
        """Judge a batch, each row by itself; values may be anything, NaN included.

        Raises:
            Exception: it cannot judge; `on_error` in its settings says what becomes of the rows.
        """
