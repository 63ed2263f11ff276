"""Which models can answer, as gauges: what should be served, what is, and what is tried."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from serving.channel.messages.directory import BrokenModel, ModelKey, ServedModel
from serving.channel.messages.reports import GatewayStatus
from serving.telemetry.counters import GaugeSeries, SeriesSet
from serving.telemetry.metrics.models import MODEL_READY

_Labels = tuple[str, str, bool]


class ModelSeries:
    """`vigil.model.ready` of every version that should be served or is tried.

    Args:
        series: where they are kept.
    """

    def __init__(self, series: SeriesSet) -> None:
        self._series = series
        self._shown: dict[_Labels, GaugeSeries] = {}
        self._since: dict[ModelKey, int] = {}
        self._models: tuple[ServedModel, ...] = ()
        self._candidates: tuple[ServedModel, ...] = ()
        self._broken: tuple[BrokenModel, ...] = ()

    def follow(
        self,
        generation: int,
        models: tuple[ServedModel, ...],
        candidates: tuple[ServedModel, ...],
        broken: tuple[BrokenModel, ...],
    ) -> None:
        """Take in what the directory `generation` says."""
        self._models, self._candidates, self._broken = models, candidates, broken
        self._since = {
            served.key: self._since.get(served.key, generation) for served in (*models, *candidates)
        }

    def end(self) -> None:
        """Show nothing any more: the instance stops, and no model is wanted."""
        self._models = self._candidates = self._broken = ()
        self._show({})

    def update(self, statuses: Sequence[GatewayStatus], gateways: int) -> None:
        """Bring them up to date.

        Args:
            statuses: what gateways that can be relied on said about themselves last.
            gateways: how many there must be.
        """
        wanted = {
            (served.name, served.version, True): _every(
                statuses, gateways, served.key, self._since[served.key]
            )
            for served in self._models
        }
        loaded = {served.name for served in self._models}
        for broken in self._broken:
            # Without a version it is about the whole folder, of which something may be served.
            if broken.version or broken.name not in loaded:
                wanted.setdefault((broken.name, broken.version, True), False)
        for served in self._candidates:
            if (served.name, served.version, True) not in wanted:
                wanted[served.name, served.version, False] = _proven(statuses, gateways, served.key)
        self._show(wanted)

    def _show(self, wanted: Mapping[_Labels, bool]) -> None:
        for key in self._shown.keys() - wanted.keys():
            self._series.drop(self._shown.pop(key))
        for key, ready in wanted.items():
            if key not in self._shown:
                model, version, is_wanted = key
                self._shown[key] = self._series.gauge(
                    MODEL_READY,
                    model=model,
                    version=version,
                    wanted="true" if is_wanted else "false",
                )
            self._shown[key].set(ready)


def _every(statuses: Iterable[GatewayStatus], gateways: int, key: ModelKey, since: int) -> bool:
    """Whether every gateway knows a version and does not say that it cannot answer with it."""
    able = sum(
        status.generation >= since and key[:2] not in status.why_unready for status in statuses
    )
    return able >= gateways


def _proven(statuses: Iterable[GatewayStatus], gateways: int, key: ModelKey) -> bool:
    """Whether every gateway has proven a candidate."""
    able = sum(
        any(each.key == key and each.state == "READY" for each in status.candidates)
        for status in statuses
    )
    return able >= gateways
