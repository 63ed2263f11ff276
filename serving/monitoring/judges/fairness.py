"""Fairness of a model version: whether its groups are treated alike."""

from __future__ import annotations

from monitors.fairness.counting import ClassCounting, Counting, NumberCounting
from monitors.fairness.group_fairness import GroupFairnessMonitor, Tolerances
from serving.models.consumers import FAIRNESS
from serving.models.repository.folder import ModelEntry
from serving.monitoring.judges.budgets import rate
from serving.monitoring.judges.descriptor import Blind, Built

NOTHING = (
    "nothing is tolerated, so nothing is judged; set `fairness.tolerance.mae_difference`, "
    "`mae_ratio` or `mean_error_difference`"
)


def build(entry: ModelEntry) -> Built:
    """Return the monitor of the section `fairness`."""
    config = entry.config.fairness
    assert config is not None
    output = entry.config.outputs[0]
    tolerated = config.tolerance.model_dump(exclude_none=True)
    counting: Counting
    if config.favorable is None:
        counting = NumberCounting(output.name)
    else:
        counting = ClassCounting(
            output.name,
            (output.classes or []).index(config.favorable),
            calibration="calibration_difference" in tolerated,
        )
    possible = {each.name for way in counting.ways for each in way.definitions}
    judged = {name: most for name, most in tolerated.items() if name.rpartition("_")[0] in possible}
    monitor = GroupFairnessMonitor(
        config.sensitive,
        counting,
        Tolerances(by_metric=judged),
        config.window,
        rate(entry.config, FAIRNESS),
        min_rows=config.min_rows,
        reference=config.reference,
    )
    blind = () if judged else (Blind(NOTHING, in_part=True, by_default=True),)
    return Built(monitor, blind)
