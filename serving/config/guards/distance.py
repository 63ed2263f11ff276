"""The guard `distance`: how far a row's features are from those of every reference row."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from guards.decisions import ACTION_OF
from guards.guard import Guard, Stage
from serving.config.guards.descriptor import GuardDescriptor, GuardSource, ReferenceRows
from serving.config.guards.section import GuardSection


class DistanceGuardSection(GuardSection):
    """Distance of penultimate features from the nearest reference row, in the replica."""

    name: Literal["distance"] = Field(description="Chooses this guard.")
    false_positive_rate: float = Field(
        0.05, gt=0, lt=1, description="Share of normal rows that it may take for foreign."
    )

    @property
    def stated_rate(self) -> float | None:
        """That of false positives, unless another one is expected."""
        return self.false_positive_rate if self.expected_rate is None else self.expected_rate


def _build(section: DistanceGuardSection, source: GuardSource) -> Guard:
    from guards.feature.distance import DistanceGuard

    return DistanceGuard.from_arrays(source.learned, ACTION_OF[section.action])


def _fit(
    section: DistanceGuardSection, fitted: ReferenceRows, held: ReferenceRows
) -> dict[str, np.ndarray]:
    from guards.feature.distance import DistanceGuard

    assert fitted.features is not None
    assert held.features is not None
    rows = len(fitted.features)
    # A model of numbers has one kind of rows.
    classes = np.zeros(rows, np.int64) if fitted.classes is None else fitted.classes
    guard = DistanceGuard().fit(fitted.features, classes)
    return guard.calibrate(held.features, section.false_positive_rate).to_arrays()


DESCRIPTOR = GuardDescriptor(
    section=DistanceGuardSection, stage=Stage.FEATURES, build=_build, fit=_fit
)
