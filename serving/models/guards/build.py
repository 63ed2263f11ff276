"""Builds the guards of a model version by the list of all kinds of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from guards.guard import Guard
from guards.runner import GuardRunner, GuardSetup
from serving.config import ConfigError, GuardSection, ModelConfig, descriptor_of
from serving.config.guards.descriptor import GuardDescriptor, GuardSource, lacks_features
from serving.models.consumers import GUARD_RATE, consumers
from serving.models.contract import Capabilities
from serving.models.logged import kept_inputs
from serving.models.profile.files import damaged, learned_path, read_learned
from serving.models.repository.folder import ModelEntry


def gateway_guards(config: ModelConfig) -> GuardRunner:
    """Return the guards that need neither the model nor its files, in their order."""
    setups = [
        _setup(section, kind.build(section, _source(config, {})))
        for section, kind in _chosen(config, in_replica=False)
    ]
    return GuardRunner(setups, scores=_keeps_scores(config))


def replica_guards(entry: ModelEntry, capabilities: Capabilities) -> GuardRunner:
    """Return the guards that run beside a model that was loaded, in their order.

    Raises:
        ConfigError: one has no profile, or a damaged one, or needs features that the model has not.
    """
    setups = []
    for section, _kind in _chosen(entry.config, in_replica=True):
        guard = build_guard(entry, section)
        if guard.needs.features and not capabilities.features:
            raise lacks_features(entry.name, guard.name)
        setups.append(_setup(section, guard))
    return GuardRunner(setups, scores=_keeps_scores(entry.config))


def _keeps_scores(config: ModelConfig) -> bool:
    """Whether anybody does: the prediction log, where it keeps values; who watches rates."""
    return kept_inputs(config) is not None or GUARD_RATE in consumers(config)


def build_guard(entry: ModelEntry, section: GuardSection) -> Guard:
    """Return one guard of a version, with what it has learned.

    Raises:
        ConfigError: it has no profile, or a damaged one.
    """
    kind = descriptor_of(section)
    if kind.fit is None:
        return kind.build(section, _source(entry.config, {}))
    learned = read_learned(entry, kind.name)
    if learned is None:
        raise ConfigError(
            f"model '{entry.name}': guard {kind.name} has no profile; run "
            f"`vigil profile {entry.name} --data FILE` first"
        )
    try:
        return kind.build(section, _source(entry.config, learned))
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise damaged(learned_path(entry, kind.name), error) from None


def _chosen(
    config: ModelConfig, *, in_replica: bool
) -> Iterator[tuple[GuardSection, GuardDescriptor]]:
    for section in config.guards:
        kind = descriptor_of(section)
        if kind.in_replica == in_replica:
            yield section, kind


def _source(config: ModelConfig, learned: Mapping[str, np.ndarray]) -> GuardSource:
    return GuardSource(inputs=config.inputs, outputs=config.outputs, learned=learned)


def _setup(section: GuardSection, guard: Guard) -> GuardSetup:
    return GuardSetup(guard, section.on_error, section.budget_ms)
