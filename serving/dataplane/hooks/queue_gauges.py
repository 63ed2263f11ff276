"""The gauges of a gateway's queues: rows that wait, and slots of replicas."""

from __future__ import annotations

from collections.abc import Iterable

from serving.dataplane.served import ServedVersion
from serving.telemetry import names
from serving.telemetry.counters import SeriesSet

_GAUGES = (names.QUEUE_ROWS, names.REPLICA_SLOTS_TOTAL, names.REPLICA_SLOTS_USED)


class QueueGauges:
    """Brings the gauges up to date; versions that are gone have none.

    Args:
        series: where they are kept.
    """

    def __init__(self, series: SeriesSet) -> None:
        self._series = series
        self._known: set[tuple[str, str]] = set()

    def update(self, entries: Iterable[ServedVersion]) -> None:
        """Set them to what `entries` hold now; several revisions of one version are added up."""
        found: dict[tuple[str, str], tuple[int, ...]] = {}
        for entry in entries:
            links = entry.batcher.links
            held = (
                entry.queue.waiting_rows,
                sum(link.slots for link in links),
                # All of a link are in use while one batch must be alone there.
                sum(min(link.busy, link.slots) for link in links),
            )
            before = found.get((entry.name, entry.version), (0, 0, 0))
            found[entry.name, entry.version] = tuple(map(sum, zip(before, held, strict=True)))
        for model, version in self._known - found.keys():
            self._series.drop_gauges(model=model, version=version)
        self._known = set(found)
        for (model, version), values in found.items():
            for metric, value in zip(_GAUGES, values, strict=True):
                self._series.gauge(metric, model=model, version=version).set(value)
