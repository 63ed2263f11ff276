"""Guards of a model version: whether they flag as many rows as they are stated to."""

from __future__ import annotations

from monitors.performance.guard_rate import GuardRateMonitor
from serving.config import ModelConfig
from serving.models.consumers import GUARD_RATE
from serving.models.repository.folder import ModelEntry
from serving.monitoring.judges.budgets import rate
from serving.monitoring.judges.descriptor import Built


def build(entry: ModelEntry) -> Built:
    """Return the monitor of all guards of the model."""
    config = entry.config.monitors.guard_rate
    assert config is not None
    rates = {each.name: each.stated_rate for each in entry.config.guards}
    return Built(GuardRateMonitor(rates, config.window, rate(entry.config, GUARD_RATE)))


def unstated(config: ModelConfig) -> str:
    """Return why guards are not judged although there are some; empty: that is not so."""
    if config.monitors.guard_rate is None or not config.guards:
        return ""
    names = ", ".join(f"'{each.name}'" for each in config.guards)
    return f"no rate is stated of {names}; set its expected_rate in model.yaml"
