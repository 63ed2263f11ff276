"""Watches which incidents open while the day is played."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from serving.channel.messages.incidents import Incident
from serving.demo.traffic import words
from serving.demo.traffic.instance import Instance
from serving.demo.traffic.record import Record, Seen
from serving.demo.traffic.schedule import MODEL, Planted
from serving.errors import VigilError


class Watcher:
    """Notes incidents, and tells of them once.

    Args:
        instance: is asked.
        record: where they are noted.
        say: told of each that opens, gets worse, or gets its cause.
    """

    def __init__(self, instance: Instance, record: Record, say: Callable[[str], None]) -> None:
        self._instance, self._record, self._say = instance, record, say
        self._active_before: set[str] = set()
        self._told: dict[str, tuple[str, bool]] = {}

    def begin(self, planted: Sequence[Planted]) -> None:
        """Note what is there before.

        Raises:
            VigilError: an incident is open that would hide one of those to come.
        """
        self._instance.await_judges(MODEL)
        before = [each for each in self._instance.incidents() if each.active]
        self._active_before = {each.id for each in before}
        causes = {each.cause for each in planted}
        hiding = [each for each in before if each.model == MODEL and each.cause in causes]
        if hiding:
            raise VigilError(words.hidden(hiding))

    def look(self, hour: float) -> None:
        """Ask once.

        Raises:
            VigilError: the instance cannot be asked.
        """
        known = {seen.incident.id: seen for seen in self._record.seen}
        for incident in self._instance.incidents():
            if seen := known.get(incident.id):
                seen.incident = incident
            elif incident.active and incident.id not in self._active_before:
                self._record.seen.append(Seen(hour, incident))
            else:
                continue
            self._tell(incident, hour)

    def _tell(self, incident: Incident, hour: float) -> None:
        now = incident.severity, incident.evidence.cause is not None
        before = self._told.get(incident.id)
        if now == before:
            return
        self._told[incident.id] = now
        if before is None or before[0] != now[0]:
            self._say(words.opened(hour, incident))
        if now[1]:
            self._say(words.caused(hour, incident))
