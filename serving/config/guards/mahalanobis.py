"""The guard `mahalanobis`: distance of a row's features from those of every training class."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from guards.decisions import ACTION_OF
from guards.guard import Guard, Stage
from serving.config.guards.descriptor import GuardDescriptor, GuardSource, ReferenceRows
from serving.config.guards.section import GuardSection


class MahalanobisGuardSection(GuardSection):
    """Distance of penultimate features from the training classes, in the replica."""

    name: Literal["mahalanobis"] = Field(description="Chooses this guard.")
    false_positive_rate: float = Field(
        0.05, gt=0, lt=1, description="Share of normal rows that it may take for foreign."
    )

    @property
    def stated_rate(self) -> float | None:
        """That of false positives, unless another one is expected."""
        return self.false_positive_rate if self.expected_rate is None else self.expected_rate


def _build(section: MahalanobisGuardSection, source: GuardSource) -> Guard:
    from guards.feature.mahalanobis import MahalanobisGuard

    return MahalanobisGuard.from_arrays(source.learned, ACTION_OF[section.action])


def _fit(
    section: MahalanobisGuardSection, fitted: ReferenceRows, held: ReferenceRows
) -> dict[str, np.ndarray]:
    from guards.feature.mahalanobis import MahalanobisGuard

    if fitted.classes is None:
        raise ValueError("it needs classes; give a column y_true")
    assert fitted.features is not None
    assert held.features is not None
    guard = MahalanobisGuard().fit(fitted.features, fitted.classes)
    return guard.calibrate(held.features, section.false_positive_rate).to_arrays()


DESCRIPTOR = GuardDescriptor(
    section=MahalanobisGuardSection, stage=Stage.FEATURES, build=_build, fit=_fit
)
