"""The findings that monitors told last, as they count now: those of a silent one are unknown."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import msgspec

from serving.channel.messages.findings import FindingRecord, FindingsChanged
from serving.channel.monitor_shares import called
from serving.control.members import STALE_S


@dataclass(slots=True)
class _Told:
    findings: tuple[FindingRecord, ...]
    at: float
    heard_at: float
    left: bool = False


class LatestFindings:
    """What each monitor told last.

    Findings come when they change, so that nothing comes means that nothing has changed, as long
    as the monitor reports. Of one that does not, or is gone, verdicts are not known. They are
    shown as that until a monitor tells its findings anew: an operator must not take their absence
    for a sign that all is well.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._told: dict[str, _Told] = {}

    def told(self, monitor: str, changed: FindingsChanged) -> None:
        """Take in all findings of a monitor."""
        now = self._clock()
        # Also where it was gone: it has gone on from what the process before it had saved.
        self._told[monitor] = _Told(changed.findings, now, now)

    def heard(self, monitor: str) -> None:
        """A monitor has reported, so what it told last is still so."""
        told = self._told.get(monitor)
        if told is not None and not told.left:
            told.heard_at = self._clock()

    def left(self, monitor: str) -> None:
        """A monitor is gone."""
        if monitor in self._told:
            self._told[monitor].left = True

    def current(self, served: Collection[str]) -> list[FindingRecord]:
        """Return every finding as it counts now, its age counted on since it was told.

        Args:
            served: names of the models that are served; only a monitor that is there knows
                when findings of another one are of no interest any more.
        """
        now = self._clock()
        found = []
        for monitor, told in self._told.items():
            for each in told.findings:
                if told.left and each.model not in served:
                    continue
                age_s = each.age_s + now - told.at
                found.append(_as_of_now(each, age_s, _why_unknown(monitor, told, now)))
        return found


def _why_unknown(monitor: str, told: _Told, now: float) -> str:
    if told.left:
        return f"{called(monitor)} is gone"
    silent_s = now - told.heard_at
    return f"{called(monitor)} has not reported for {silent_s:.0f} s" if silent_s >= STALE_S else ""


def _as_of_now(finding: FindingRecord, age_s: float, why: str) -> FindingRecord:
    if not why or finding.breached is None:
        return msgspec.structs.replace(finding, age_s=age_s)
    was = "breached" if finding.breached else "fine"
    reason = f"{why}; {was} before that"
    return msgspec.structs.replace(finding, age_s=age_s, breached=None, reason=reason)
