"""All monitors of one model version: fed, asked and saved together, each failing by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from monitors.finding import Finding
from monitors.monitor import Monitor
from monitors.rows import Corrections, Rows
from monitors.sliced import sliced
from serving.channel.messages.findings import Unjudged
from serving.channel.messages.watched import WatchedMonitor
from serving.models.repository.folder import ModelEntry
from serving.monitoring.check_time import CheckTime
from serving.monitoring.finding_records import stale
from serving.monitoring.finding_series import FindingSeries
from serving.monitoring.freshness import Freshness
from serving.monitoring.judges.descriptor import Blind, MonitorDescriptor
from serving.monitoring.judges.judge import Judge
from serving.monitoring.watched_records import SAYS_NOTHING
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report


class MonitorSet:
    """The monitors that a model version wants.

    Args:
        entry: the version; its profile is read here.
        model: the version in words.
        series: where the findings are published as metrics.
        time: where the processor time of each is counted.
        descriptors: which kinds of monitors there are.

    Attributes:
        judges: those that run.
        published: how often one of them has found something.
    """

    def __init__(
        self,
        entry: ModelEntry,
        model: str,
        series: FindingSeries,
        time: CheckTime,
        descriptors: Sequence[MonitorDescriptor],
    ) -> None:
        self._entry, self._model, self._series = entry, model, series
        self._time = time
        self.published = 0
        self._notes: list[str] = []
        self._by_default: list[str] = []
        self._lacking: list[str] = []
        self._failures: dict[str, str] = {}
        self._blind: dict[str, str] = {}
        self._fresh = Freshness(entry.config.monitors.stale_after_s)
        self.judges = [judge for each in descriptors if (judge := self._begin(each))]

    def _begin(self, descriptor: MonitorDescriptor) -> Judge | None:
        if not descriptor.wanted(self._entry.config):
            if descriptor.unwanted:
                told = f"{descriptor.called} of {self._model} is not watched"
                self._notes.append(f"{told}: {descriptor.unwanted}")
            elif why := descriptor.lacks(self._entry.config):
                self._lacking.append(f"{descriptor.called} of {self._model} is not watched: {why}")
            return None
        try:
            built = descriptor.build(self._entry)
        except Exception as error:  # noqa: BLE001 - the other monitors need not do without
            self.failed(descriptor.name, error, "cannot be set up")
            return None
        for blind in built.blind:
            self._not_watched(descriptor, blind)
            if not (blind.in_part or blind.by_default):
                self._blind[descriptor.name] = blind.why
        if built.monitor is None:
            return None
        monitor = sliced(built.monitor, self._parts(descriptor))
        return Judge(descriptor, monitor, self._entry, built.title)

    def _parts(self, descriptor: MonitorDescriptor) -> dict[str, Monitor]:
        """Return a monitor for each slice, of a kind that judges slices."""
        found: dict[str, Monitor] = {}
        if descriptor.part is None:
            return found
        for text in self._entry.config.monitors.slices:
            built = descriptor.part(self._entry)
            if built.monitor is not None:
                found[text] = built.monitor
        return found

    def _not_watched(self, descriptor: MonitorDescriptor, blind: Blind) -> None:
        part = " in part" if blind.in_part else ""
        told = f"{descriptor.called} of {self._model} is not watched{part}"
        if blind.by_default:
            self._by_default.append(f"{told}: {blind.why}")
            return
        self._notes.append(f"{told}: {blind.why}")
        self._report(Event.MONITOR_BLIND, self._notes[-1], descriptor.name)

    def _report(self, event: Event, said: str, monitor: str, **more: Any) -> None:
        model, version = self._entry.name, self._entry.version
        report(event, said, model=model, version=version, monitor=monitor, **more)

    # -- what happens -------------------------------------------------------------------

    def predicted(self, rows: Rows, now: float, no_class: Exception | None = None) -> None:
        """Show predictions to the monitors that take some.

        Args:
            rows: the predictions.
            now: seconds since the epoch.
            no_class: why the rows have no predicted class although a monitor needs it.
        """
        for judge in self.judges:
            if not judge.needs.takes_predictions:
                continue
            if no_class is not None and judge.needs.predicted:
                self.failed(judge.name, no_class)
            else:
                self._feed(judge, rows, now)

    def guarded(self, rows: Rows, now: float) -> None:
        """Show what became of rows in guards to the monitors of guards."""
        for judge in self.judges:
            if judge.needs.guards:
                self._feed(judge, rows, now)

    def asked(self, rows: Rows, now: float) -> None:
        """Show requests whose answers nobody knows to the monitors that look at inputs only."""
        for judge in self.judges:
            needs = judge.needs
            if needs.columns and not (needs.outputs or needs.predicted or needs.labels):
                self._feed(judge, rows, now)

    def labelled(self, rows: Rows, now: float) -> None:
        """Show rows whose truth became known to the monitors that take some."""
        for judge in self.judges:
            if judge.needs.takes_labelled:
                self._feed(judge, rows, now)

    def corrected(self, corrections: Corrections, now: float) -> None:
        """Show labels that were replaced to the monitors whose figures follow."""
        for judge in self.judges:
            if not judge.needs.takes_labelled or judge.revises is None:
                continue
            try:
                found = judge.revises.revise(corrections, now)
            except Exception as error:  # noqa: BLE001 - the other monitors go on
                self.failed(judge.name, error)
                continue
            if found:
                self._publish(judge, found)

    def tick(self, now: float) -> None:
        """Let monitors judge by the clock, and bring the metrics of findings up to date.

        Those of findings that are stale end.
        """
        for judge in self.judges:
            began = self._time.clock()
            try:
                found = judge.monitor.tick(now)
            except Exception as error:  # noqa: BLE001 - the other monitors go on
                self.failed(judge.name, error)
                continue
            finally:
                self._time.checked(judge.name, began)
            if found:
                self._publish(judge, found)
                self._fresh.judged_by_clock(judge.name, now)
        self._series.catch_up()
        old = self._fresh.refresh(now)
        for judge in self.judges:
            if not old.isdisjoint(judge.feeds):
                fresh = (found for found in judge.found if judge.feed_of(found) not in old)
                self._series.show(judge.name, fresh)

    def failed(self, name: str, error: Exception, how: str = "failed and missed a batch") -> None:
        """Tell that a consumer failed."""
        # Only the kind of error: its text may quote values.
        self._failures[name] = type(error).__name__
        said = f"{name} of model '{self._entry.name}' {how}"
        self._report(Event.MONITOR_FAILED, said, name, error=error)

    def worked(self, name: str) -> None:
        """Take note that a consumer works (again)."""
        self._failures.pop(name, None)

    def _feed(self, judge: Judge, rows: Rows, now: float) -> None:
        began = self._time.clock()
        try:
            found = judge.monitor.update(rows, now)
        except Exception as error:  # noqa: BLE001 - the other monitors go on
            self.failed(judge.name, error)
            return
        finally:
            self._time.checked(judge.name, began)
        self._failures.pop(judge.name, None)
        self._fresh.fed(judge.feed(labelled=rows.labels is not None), now)
        if found:
            self._publish(judge, found)

    def _publish(self, judge: Judge, found: Sequence[Finding]) -> None:
        self.published += 1
        judge.take(found)
        for feed in {judge.feed_of(each) for each in found}:
            self._fresh.judged(feed)
        self._series.show_later(judge.name, judge.found)
        self._series.count_alarms(found)

    def reset_reference(self) -> str:
        """Begin a new reference of every monitor that learns its own.

        Returns the state of the first one in a few words; empty: none learns its own.
        """
        told = ""
        for judge in self.judges:
            if judge.learns is not None:
                judge.reset_reference()
                self._series.hide(judge.name)
                told = told or judge.learns.progress
        return told

    # -- what it says -------------------------------------------------------------------

    def watched(self, now: float) -> list[WatchedMonitor]:
        """Return what its monitors watch, how strictly, and what they can see."""
        return [told for judge in self.judges if (told := judge.watched(now)) is not None]

    @property
    def unwatched(self) -> list[str]:
        """What is not watched, and why; one sentence each."""
        silent = [each for each in self.judges if each.says is None]
        return [
            *self._notes,
            *self._by_default,
            *self._lacking,
            *(f"{each.title} of {self._model}: {SAYS_NOTHING}" for each in silent),
            *(f"{name} of {self._model} failed: {why}" for name, why in self._failures.items()),
        ]

    @property
    def had_rows(self) -> bool:
        """Whether a monitor has ever had rows of this version."""
        return self._fresh.begun

    def findings(self, now: float) -> list[Finding]:
        """Return the latest finding per monitor, metric, subject and segment.

        Those that are stale are unknown.
        """
        old = self._fresh.refresh(now)
        latest = {}
        for judge in self.judges:
            for found in judge.latest:
                key = (found.monitor, found.metric, found.subject, found.segment)
                feed = judge.feed_of(found)
                idle_s = self._fresh.idle_s(feed, now)
                what = judge.fed_by if feed == judge.name else "labels"
                latest[key] = stale(found, idle_s, what) if feed in old else found
        return list(latest.values())

    @property
    def references(self) -> list[str]:
        """What monitors that have learnt their reference compare with; one sentence each."""
        return [
            f"{judge.title} of {self._model}: {judge.learns.progress}"
            for judge in self.judges
            if judge.learns is not None and judge.learns.ready
        ]

    @property
    def not_judged(self) -> list[str]:
        """What is not watched, not judged yet, or failed, and why; one sentence each."""
        waiting = (judge.not_judged(self._model) for judge in self.judges)
        failed = self._failures.items()
        return [
            *self._notes,
            *filter(None, waiting),
            *self._by_default,
            *(f"{name} of {self._model} failed: {error}" for name, error in failed),
        ]

    def take_passed(self) -> list[Finding]:
        """Return, once, breaches of windows that others have followed; see `Judge.take_passed`."""
        return [found for judge in self.judges for found in judge.take_passed()]

    @property
    def unjudged(self) -> list[Unjudged]:
        """What is wanted and has no findings, or cannot be relied on."""
        failed = {name: f"it failed: {error}" for name, error in self._failures.items()}
        blind = {**self._blind, **failed}
        waiting = {judge.name: judge.waits_for for judge in self.judges if judge.name not in blind}
        of = self._entry.name, self._entry.version
        return [
            *(Unjudged(*of, name, "blind", why) for name, why in blind.items()),
            *(Unjudged(*of, name, "waiting", why) for name, why in waiting.items() if why),
        ]

    # -- what is saved ------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return the monitors' states by name, and `freshness`, as JSON-serialisable values."""
        states = {judge.name: judge.monitor.state() for judge in self.judges}
        return {**states, "freshness": self._fresh.state()}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on from what `state` returned; a monitor that has changed since begins anew."""
        for judge in self.judges:
            if judge.name in saved and self.go_on(judge.name, judge.restore, saved):
                self._series.show(judge.name, judge.latest)
        self._fresh.restore(saved["freshness"])

    def go_on(self, name: str, restore: Callable[[Any], object], saved: Mapping[str, Any]) -> bool:
        """Have a consumer go on from its saved state, or tell that it begins anew."""
        try:
            restore(saved[name])
        except Exception:  # noqa: BLE001 - whatever was saved, the other monitors go on
            self._notes.append(
                f"{name} of {self._model} began anew: its reference, window or "
                f"threshold is not what it was before the restart"
            )
            self._report(Event.MONITOR_BEGAN_ANEW, self._notes[-1], name)
            return False
        return True
