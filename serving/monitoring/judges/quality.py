"""Quality of a model version's inputs and answers."""

from __future__ import annotations

from functools import partial

from monitors.alarms.law_windows import WindowSettings
from monitors.drift.live_drift import LiveDriftMonitor
from monitors.quality.checks import Expected
from monitors.quality.data_quality import DataQualityMonitor
from monitors.quality.non_finite import NonFiniteMonitor
from monitors.reference.categorical_column import CategoricalColumn
from monitors.reference.profile import ReferenceProfile
from serving.config import ConfigError, ModelConfig
from serving.models.consumers import DATA_QUALITY
from serving.models.profile.columns import declared_features
from serving.models.profile.files import read_drift_reference
from serving.models.repository.folder import ModelEntry
from serving.monitoring.judges.budgets import rate
from serving.monitoring.judges.descriptor import Blind, Built
from serving.protocol.datatypes import FLOATING


def build(entry: ModelEntry) -> Built:
    """Return the monitor of the floating-point outputs."""
    outputs = [spec.name for spec in entry.config.outputs if spec.datatype in FLOATING]
    return Built(NonFiniteMonitor(outputs))


def build_of_inputs(entry: ModelEntry) -> Built:
    """Return the monitor of the inputs, which shares the reference of drift."""
    drift = entry.config.monitors.drift
    assert drift is not None
    if drift.reference != "profile":
        return part_of_inputs(entry)
    try:
        reference = read_drift_reference(entry)
    except ConfigError as error:
        return Built(None, (Blind(error.message),))
    if reference is None or not reference.quality:
        lacks = "no profile" if reference is None else "a profile without the types of its columns"
        why = f"the version has {lacks}; run `vigil profile {entry.name} --data FILE`"
        return Built(None, (Blind(why),))
    return Built(_against(entry, reference))


def part_of_inputs(entry: ModelEntry) -> Built:
    """Return the monitor of inputs against their first rows, which that of a slice is, too."""
    drift, quality = entry.config.monitors.drift, entry.config.monitors.quality
    assert drift is not None
    assert quality is not None
    return Built(
        LiveDriftMonitor(
            drift.reference_rows,
            partial(_against, entry),
            window=quality.window,
            renewed=drift.reference == "previous",
        )
    )


def expected(reference: ReferenceProfile, config: ModelConfig) -> dict[str, Expected]:
    """Return what is expected of each column: as it was, and as model.yaml declares it."""
    declared = declared_features(config)
    found = {}
    for name, quality in reference.quality.items():
        column, feature = reference.columns[name], declared.get(name)
        found[name] = Expected(
            quality,
            column if isinstance(column, CategoricalColumn) and column.categories else None,
            feature.categories if feature else None,
            feature.min if feature else None,
            feature.max if feature else None,
        )
    return found


def _against(entry: ModelEntry, reference: ReferenceProfile) -> DataQualityMonitor:
    config = entry.config.monitors.quality
    assert config is not None
    settings = WindowSettings(
        window=config.window, window_s=config.window_s, rate=rate(entry.config, DATA_QUALITY)
    )
    return DataQualityMonitor(expected(reference, entry.config), settings)
