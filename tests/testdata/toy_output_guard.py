"""A new kind of guard that judges answers and learns what is normal, as a file and an entry."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from guards.decisions import ACTION_OF, MOST_SCORE, Action, Decisions
from guards.guard import Guard, Needs, Stage
from guards.rows import Rows
from serving.config.guards.descriptor import GuardDescriptor, GuardSource, ReferenceRows
from serving.config.guards.section import GuardSection


class ToyOutputGuard:
    """Dislikes rows whose first output is further from zero than any reference row's."""

    name = "toy_output"
    stage = Stage.OUTPUT
    needs = Needs(outputs=True)

    def __init__(self, largest: float, action: Action) -> None:
        self._largest, self.action = largest, action

    def check(self, rows: Rows) -> Decisions:
        values = np.abs(next(iter(rows.outputs.values())).astype(np.float64))
        score = values.max(axis=tuple(range(1, values.ndim)), initial=0) / self._largest
        score = np.where(score <= MOST_SCORE, score, MOST_SCORE)
        wrong = score > 1
        reasons = dict.fromkeys(np.flatnonzero(wrong).tolist(), "the toy wants smaller answers")
        action = wrong.astype(np.uint8) * np.uint8(self.action)
        return Decisions(self.name, action, reasons, score.astype(np.float32))


class ToyOutputSection(GuardSection):
    """The largest outputs that are normal, in the replica."""

    name: Literal["toy_output"] = Field(description="Chooses this guard.")


def _build(section: ToyOutputSection, source: GuardSource) -> Guard:
    return ToyOutputGuard(float(source.learned["largest"]), ACTION_OF[section.action])


def _fit(
    section: ToyOutputSection, fitted: ReferenceRows, held: ReferenceRows
) -> dict[str, np.ndarray]:
    return {"largest": np.abs(next(iter(fitted.outputs.values()))).max()}


DESCRIPTOR = GuardDescriptor(section=ToyOutputSection, stage=Stage.OUTPUT, build=_build, fit=_fit)
