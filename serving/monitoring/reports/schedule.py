"""Makes reports when they are due, one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import numpy as np

from serving.channel.messages.observation import ReportMeta, ReportReply
from serving.config.reports import Reports
from serving.errors import Overloaded, VigilError
from serving.models.repository.folder import ModelEntry
from serving.monitoring.reports.kept import KeptReports, Planned
from serving.monitoring.reports.possible import KINDS, OF_COLUMNS, impossible
from serving.monitoring.reports.runner import CONTENT_TYPES, ReportRunner
from serving.monitoring.to_the_end import to_the_end
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report

STEP_S: Final = 10.0
"""How often it is looked what is due."""


class Subject(Protocol):
    """A model version of which reports can be made."""

    @property
    def entry(self) -> ModelEntry:
        """The version."""

    def recent(self) -> Mapping[str, np.ndarray]:
        """Return columns of its latest rows."""


class ReportSchedule:
    """Makes the reports that configurations ask for, and tells which there are.

    The first one of a kind is made `every_s` after it was asked for first.

    Args:
        runner: makes them.
        kept: where they are kept.
        subjects: returns the newest version of each model.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        runner: ReportRunner,
        kept: KeptReports,
        subjects: Callable[[], Iterator[Subject]],
        clock: Callable[[], float],
    ) -> None:
        self._runner = runner
        self._kept = kept
        self._subjects = subjects
        self._clock = clock
        self._plans: dict[str, dict[str, Planned]] = {}

    async def run(self) -> None:
        """Make reports until this is cancelled."""
        while True:
            await asyncio.sleep(STEP_S)
            await self.step()

    async def step(self) -> None:
        """Make each report that is due; one that fails does not keep others from being made."""
        for subject in list(self._subjects()):
            wanted = subject.entry.config.reports
            for kind in wanted.kinds if wanted else ():
                assert wanted is not None
                planned = self._planned(subject.entry.name, kind, wanted)
                if self._clock() >= planned.due:
                    await self._attempt(subject, kind, wanted)

    def told(self, entry: ModelEntry) -> dict[str, Any]:
        """Return which reports there can be, which are planned, and which are kept.

        Args:
            entry: the newest version of the model.
        """
        wanted, logged = entry.config.reports, self._runner.logged
        return {
            "model": entry.name,
            "version": entry.version,
            "reports": [
                {"report": kind, "impossible_because": impossible(kind, entry, logged=logged)}
                for kind in KINDS
            ],
            "scheduled": [
                self._told_of(entry.name, kind, wanted) for kind in (wanted.kinds if wanted else ())
                if wanted
            ],
            "kept": [
                {"report": each.kind, "id": each.id, "time": _iso(each.time), "format": each.format}
                for each in self._kept.listed(entry.name)
            ],
        }  # fmt: skip

    def read(self, model: str, kind: str, ident: str) -> ReportReply:
        """Return a report that is kept.

        Raises:
            NotFound: there is none with this id.
        """
        form, content = self._kept.read(model, kind, ident)
        return ReportReply(CONTENT_TYPES[form], content)

    def _told_of(self, model: str, kind: str, wanted: Reports) -> dict[str, Any]:
        planned = self._planned(model, kind, wanted)
        failure = None
        if planned.failed_at is not None:
            failure = {"time": _iso(planned.failed_at), "why": planned.why}
        return {
            "report": kind, "every_s": wanted.every_s, "last_s": wanted.last_s,
            "keep": wanted.keep, "due": _iso(planned.due), "failure": failure,
        }  # fmt: skip

    def _planned(self, model: str, kind: str, wanted: Reports) -> Planned:
        plan = self._plans.get(model)
        if plan is None:
            plan = self._plans[model] = self._kept.plan(model)
        latest = self._clock() + wanted.every_s
        planned = plan.get(kind)
        if planned is None:
            planned = plan[kind] = Planned(latest)
            self._save(model)
        planned.due = min(planned.due, latest)  # somebody wants it more often than before
        return planned

    async def _attempt(self, subject: Subject, kind: str, wanted: Reports) -> None:
        name, now = subject.entry.name, self._clock()
        why: str | None = None
        try:
            await self._make(subject, kind, wanted, now)
        except Overloaded:  # somebody is having one made: the next step tries again
            return
        except VigilError as error:
            why = error.message
            if not error.logged:
                self._complain(subject, f"the scheduled report of {kind} was not made: {why}")
        except OSError as error:
            why = f"it cannot be written: {error.strerror}"
            self._complain(subject, f"the scheduled report of {kind} was not kept: {why}")
        except Exception as error:  # noqa: BLE001 - a fault in one must not end all later ones
            why = f"an internal error: {type(error).__name__}"
            self._complain(subject, f"the scheduled report of {kind} was not made", error)
        # After a pause of the whole instance only one is made, not all that are missing.
        failed_at = None if why is None else now
        self._plans[name][kind] = Planned(now + wanted.every_s, failed_at, why or "")
        self._save(name)

    async def _make(self, subject: Subject, kind: str, wanted: Reports, now: float) -> None:
        entry = subject.entry
        logged = self._runner.logged or kind not in OF_COLUMNS
        asked = ReportMeta(
            entry.name, entry.version, kind, wanted.format,
            since=now - wanted.last_s if logged else None,
        )  # fmt: skip
        reply = await self._runner.report(entry, asked, subject.recent)

        def keep() -> None:
            self._kept.keep(entry.name, kind, wanted.format, now, reply.body)
            self._kept.thin(entry.name, kind, wanted.keep)

        await to_the_end(keep)

    def _save(self, model: str) -> None:
        try:
            self._kept.save_plan(model, self._plans[model])
        except OSError as error:
            said = f"when reports are due was not saved: {error.strerror}"
            report(Event.STATE_NOT_SAVED, said, model=model)

    def _complain(self, subject: Subject, said: str, error: Exception | None = None) -> None:
        entry = subject.entry
        report(Event.REPORT_FAILED, said, model=entry.name, version=entry.version, error=error)


def _iso(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat()
