"""Counts the versions that could not be loaded, by reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from serving.channel.messages.control import FailedMeta
from serving.channel.messages.directory import BrokenModel, ModelKey, ServedModel
from serving.channel.messages.reports import GatewayStatus
from serving.control.served_model import config_of
from serving.telemetry.counters import SeriesSet
from serving.telemetry.metrics.models import (
    LOAD_CRASH,
    LOAD_EXAMPLE,
    LOAD_FAILED,
    LOAD_REASONS,
    MODEL_LOAD_FAILURES,
)


class LoadFailures:
    """`vigil.model.load.failures`. Every try counts once, whoever finds out that it failed.

    Args:
        series: where they are kept.
    """

    def __init__(self, series: SeriesSet) -> None:
        self._series = series
        self._served: dict[ModelKey, ServedModel] = {}
        """What is served or tried."""
        self._loaded: set[ModelKey] = set()
        """Of these a replica was there: an end of its process is no failed load."""
        self._told: Counter[ModelKey] = Counter()
        """Replicas that have said why, and whose ends have not been heard of yet."""
        self._disproved: set[ModelKey] = set()

    def follow(self, served: Iterable[ServedModel], broken: Iterable[BrokenModel]) -> None:
        """Take in what is served or tried, and what cannot be."""
        served = tuple(served)
        for name in {each.name for each in served} | {each.name for each in broken}:
            for reason in LOAD_REASONS:
                # From zero on, so that the first failure is an increase that an alert can see.
                self.count(name, reason, 0)
        self._served = {each.key: each for each in served}
        self._loaded &= self._served.keys()
        self._disproved &= self._served.keys()
        self._told = Counter({key: n for key, n in self._told.items() if key in self._served})

    def count(self, model: str, reason: str, times: int = 1) -> None:
        """Count failures; `reason` is one of `LOAD_REASONS`."""
        self._series.sum(MODEL_LOAD_FAILURES, model=model, reason=reason).add(times)

    def loaded(self, key: ModelKey) -> None:
        """A replica has loaded it."""
        self._loaded.add(key)

    def told(self, failed: FailedMeta) -> None:
        """A replica that could not load it says so, and ends."""
        key = (failed.model, failed.version, failed.revision)
        if key in self._served:
            self._told[key] += 1
            self.count(failed.model, LOAD_FAILED)

    def ended(self, key: ModelKey) -> None:
        """The process of a replica has ended although nobody told it to."""
        if self._told[key]:
            self._told[key] -= 1
        elif key in self._served and key not in self._loaded:
            self.count(key[0], LOAD_CRASH)

    def gateways_say(self, statuses: Iterable[GatewayStatus]) -> None:
        """Count versions whose replicas do not answer the example, as gateways find out.

        Models on other servers are left out: these are not loaded here, only reached or not.
        """
        found: set[ModelKey] = set()
        for status in statuses:
            found.update(status.disproved)
            found.update(each.key for each in status.candidates if each.state == "UNAVAILABLE")
        found &= self._served.keys()
        for key in found - self._disproved:
            if _is_local(self._served[key]):
                self.count(key[0], LOAD_EXAMPLE)
        self._disproved = found


def _is_local(served: ServedModel) -> bool:
    return config_of(served).remote is None
