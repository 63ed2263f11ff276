"""All that a new kind of guard is: this file, and `DESCRIPTOR` in the list of guards."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from guards.decisions import ACTION_OF, Action, Decisions
from guards.guard import Guard, Needs, Stage
from guards.rows import Rows
from serving.config.guards.descriptor import GuardDescriptor, GuardSource
from serving.config.guards.section import GuardSection


class ToyGuard:
    """Dislikes rows whose first input has a value below a limit, or none at all."""

    name = "toy"
    stage = Stage.INPUT
    needs = Needs(inputs=True)

    def __init__(self, least: float, action: Action) -> None:
        self._least, self.action = least, action

    def check(self, rows: Rows) -> Decisions:
        values = next(iter(rows.inputs.values()))
        good = np.isfinite(values) & (values >= self._least)
        wrong = ~good.all(axis=tuple(range(1, good.ndim)))
        reasons = dict.fromkeys(np.flatnonzero(wrong).tolist(), "the toy wants larger numbers")
        return Decisions(self.name, wrong.astype(np.uint8) * np.uint8(self.action), reasons)


class ToySection(GuardSection):
    """A least value of the first input."""

    name: Literal["toy"] = Field(description="Chooses this guard.")
    least: float = Field(0, description="The least value that passes.")


def _build(section: ToySection, source: GuardSource) -> Guard:
    return ToyGuard(section.least, ACTION_OF[section.action])


DESCRIPTOR = GuardDescriptor(section=ToySection, stage=Stage.INPUT, build=_build)
