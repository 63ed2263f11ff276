"""The gauges of a gateway's queues: rows that wait, and slots of replicas."""

from __future__ import annotations

from collections.abc import Iterable

from serving.dataplane.served import ServedVersion
from serving.telemetry import names
from serving.telemetry.counters import SeriesSet


class QueueGauges:
    """Brings the gauges up to date; those of versions that are gone fall to 0.

    Args:
        series: where they are kept.
    """

    def __init__(self, series: SeriesSet) -> None:
        self._series = series
        self._known: set[tuple[str, str]] = set()

    def update(self, entries: Iterable[ServedVersion]) -> None:
        """Set them to what `entries` hold now; several revisions of one version are added up."""
        found = dict.fromkeys(self._known, (0, 0, 0))
        for entry in entries:
            rows, total, used = found.get((entry.name, entry.version), (0, 0, 0))
            links = entry.queue.links
            found[entry.name, entry.version] = (
                rows + entry.queue.waiting_rows,
                total + sum(link.slots for link in links),
                used + sum(link.busy for link in links),
            )
        self._known.update(found)
        for (model, version), (rows, total, used) in found.items():
            base = {"model": model, "version": version}
            self._series.gauge(names.QUEUE_ROWS, **base).set(rows)
            self._series.gauge(names.REPLICA_SLOTS_TOTAL, **base).set(total)
            self._series.gauge(names.REPLICA_SLOTS_USED, **base).set(used)
