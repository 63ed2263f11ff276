"""The gauges of a gateway's queues: rows that wait, and slots of replicas."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from serving.dataplane.links.link import ReplicaLink
from serving.telemetry.counters import SeriesSet
from serving.telemetry.metrics.inference import QUEUE_ROWS
from serving.telemetry.metrics.models import REPLICA_SLOTS_TOTAL, REPLICA_SLOTS_USED

_GAUGES = (QUEUE_ROWS, REPLICA_SLOTS_TOTAL, REPLICA_SLOTS_USED)


class QueueLoad(NamedTuple):
    """What a revision of a model version holds now.

    Attributes:
        model, version: what it is of.
        waiting_rows: rows in its queue.
        links: its replicas.
    """

    model: str
    version: str
    waiting_rows: int
    links: Sequence[ReplicaLink]


class QueueGauges:
    """Brings the gauges up to date; versions that are gone have none.

    Args:
        series: where they are kept.
    """

    def __init__(self, series: SeriesSet) -> None:
        self._series = series
        self._known: set[tuple[str, str]] = set()

    def update(self, loads: Iterable[QueueLoad]) -> None:
        """Set them to what is held now; several revisions of one version are added up."""
        found: dict[tuple[str, str], tuple[int, ...]] = {}
        for model, version, waiting_rows, links in loads:
            held = (
                waiting_rows,
                sum(link.slots for link in links),
                # All of a link are in use while one batch must be alone there.
                sum(min(link.busy, link.slots) for link in links),
            )
            before = found.get((model, version), (0, 0, 0))
            found[model, version] = tuple(map(sum, zip(before, held, strict=True)))
        for model, version in self._known - found.keys():
            self._series.drop_gauges(model=model, version=version)
        self._known = set(found)
        for (model, version), values in found.items():
            for metric, value in zip(_GAUGES, values, strict=True):
                self._series.gauge(metric, model=model, version=version).set(value)
