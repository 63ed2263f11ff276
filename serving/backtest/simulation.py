"""Plays the past to the monitors of a model, with a clock that goes with it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

from serving.backtest.figures import Figures
from serving.backtest.happenings import Labelled, Past, Predicted
from serving.backtest.outcome import Outcome
from serving.channel.messages.directory import ServedModel
from serving.channel.messages.incidents import Incident
from serving.control.served_model import config_of
from serving.incidents.book import Book
from serving.incidents.deployments import Deployments, Served
from serving.incidents.false_alarms import FalseAlarms
from serving.incidents.unknowns import Unknowns
from serving.incidents.verdicts import Verdicts
from serving.models.consumers import GUARD_RATE, consumers
from serving.monitoring.findings_feed import FindingsFeed
from serving.monitoring.judges.listed import MONITORS
from serving.monitoring.service import MonitoringService
from serving.store.records import Happened

TICK_S: Final = 60.0
"""How often monitors look at the clock, while rows come."""
MOST_LOOKS: Final = 20_000
"""In the whole past, about; a quarter is looked at every six minutes."""
OLDER_S: Final = 900.0
"""How often it is looked whether findings are too old."""
IDLE_TICK_S: Final = 600.0
"""How often, while nothing happens."""
MOST_TICKS: Final = 2000
"""In a pause, however long it is."""

NO_GUARDS: Final = "guards do not run in a backtest: how many rows they flag is not judged"

Progress = Callable[[str, int, int], None]


class Backtest:
    """The monitors and the incidents of one model, as they would have been.

    Args:
        served: its versions.
        start: time of the first row, in seconds since the epoch; the model is taken to have been
            served for long enough before that.
    """

    def __init__(self, served: Sequence[ServedModel], start: float) -> None:
        self._now = start
        self._model = served[0].name
        self._versions = {each.version for each in served}
        self._newest = served[-1].version
        # Guards do not run, so nobody knows what they would have flagged.
        judged = [each for each in MONITORS if each.name != GUARD_RATE]
        self._service = MonitoringService(self._clock, judged)
        self._service.serve(served)
        self._guarded = any(GUARD_RATE in consumers(config_of(each)) for each in served)
        deployments = Deployments()
        rules = [config_of(each).monitors.incidents for each in served]
        deployments.follow(
            (
                Served(each.name, each.version, each.revision, rule)
                for each, rule in zip(served, rules, strict=True)
            ),
            # What is looked at is not its first traffic.
            start - max(rule.warm_up_s for rule in rules),
        )
        self._incidents: dict[str, Incident] = {}
        false_alarms = FalseAlarms(
            lambda model: deployments.rules(model).false_alarm_budget, self._clock
        )
        self._made = 0
        book = Book(deployments, false_alarms, self._told, self._clock, self._ident)
        unknowns = Unknowns(book, deployments, lambda key, state: None, self._clock)
        self._unknowns = unknowns
        self._verdicts = Verdicts(book, deployments, unknowns)
        self._feed = FindingsFeed()
        self._figures = Figures()
        self._looked = start
        self._published, self._due = 0, start
        self._tick_s, self._fed = TICK_S, False
        self._last = math.inf

    def _clock(self) -> float:
        return self._now

    def _ident(self) -> str:
        self._made += 1
        return f"{self._made:04}"

    def _told(self, incident: Incident, event: Happened | None) -> None:
        self._incidents[incident.id] = incident

    def run(self, past: Past, progress: Progress = lambda what, done, total: None) -> Outcome:
        """Play all of it; returns what would have been told.

        Raises:
            VigilError: a row cannot be read or answered.
        """
        self._tick_s = max(TICK_S, (past.last - past.first) / MOST_LOOKS)
        self._last = past.last
        done = 0
        for happened in past:
            self._until(happened.time)
            self._fed = True
            if isinstance(happened, Labelled):
                self._label(happened)
            else:
                self._predict(happened)
                done += happened.event.rows
                progress("rows", done, past.rows)
        self._until(self._now + TICK_S)
        return Outcome(
            model=self._model,
            versions=tuple(sorted(self._versions)),
            rows=past.rows,
            labels=past.labels,
            first=past.first,
            last=past.last,
            incidents=tuple(self._incidents.values()),
            figures=self._figures.all(),
            notes=(
                *past.notes,
                *([NO_GUARDS] if self._guarded else []),
                *self._service.status().not_judged,
                *self._figures.no_verdicts(),
            ),
            unknown=tuple(each for each in self._unknowns.listed() if each.since <= past.last),
        )

    def _predict(self, happened: Predicted) -> None:
        known = happened.version in self._versions
        upstream = "" if known else happened.version
        version = happened.version if known else self._newest
        watch = self._service.watches.answered(self._model, version, upstream)
        if watch is not None:
            watch.update(happened.event, self._now)
        self._figures.rows(happened.event.rows, happened.time)

    def _label(self, happened: Labelled) -> None:
        for watch in self._service.watches.newest_first(self._model):
            if not watch.takes_labels:
                continue
            mine = [each for each in happened.labels if watch.predicted(each)]
            if mine:
                watch.label(mine, self._now)

    def _until(self, time: float) -> None:
        """Let the clock run, and look whenever it is due."""
        pause = time - self._now
        while time - self._looked >= (step := self._step(pause)):
            self._looked += step
            self._now = max(self._now, self._looked)
            self._look()
        self._now = max(self._now, time)

    def _step(self, pause: float) -> float:
        return self._tick_s if self._fed else max(IDLE_TICK_S, pause / MOST_TICKS)

    def _look(self) -> None:
        service, self._fed = self._service, False
        for watch in service.watches:
            watch.refresh(self._now)
        # Without a new finding only time has passed, which makes some of them unknown.
        published = sum(watch.published for watch in service.watches)
        if published != self._published or self._now >= self._due:
            self._published, self._due = published, self._now + OLDER_S
            changed = self._feed.changed(
                service.all_findings(), service.passed(), service.unjudged()
            )
            if changed is not None:
                self._figures.told(changed, self._now)
                self._verdicts.judge(changed)
        # That no rows come after the last ones is no silence.
        self._verdicts.tick(silence=self._now <= self._last)
