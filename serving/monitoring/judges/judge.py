"""A monitor that runs for one model version, with what it found last."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from monitors.finding import Finding
from monitors.monitor import (
    JudgesLabelsToo,
    LearnsReference,
    Monitor,
    RevisesLabels,
    SaysWhatItWatches,
)
from serving.channel.messages.watched import WatchedMonitor
from serving.models.repository.folder import ModelEntry
from serving.monitoring.judges.descriptor import MonitorDescriptor
from serving.monitoring.watched_records import watched_record


class Judge:
    """One monitor of one model version.

    Args:
        descriptor: what kind of monitor it is.
        monitor: the monitor.
        entry: the version that it judges.
        title: what people call what it judges; empty: as the descriptor says.
    """

    def __init__(
        self, descriptor: MonitorDescriptor, monitor: Monitor, entry: ModelEntry, title: str = ""
    ) -> None:
        self.name = descriptor.name
        self.title = title or descriptor.called
        self.monitor = monitor
        self.needs = monitor.needs
        # Asked once: whether a class keeps to a protocol takes longer than a batch of rows.
        self.learns = monitor if isinstance(monitor, LearnsReference) else None
        self.revises = monitor if isinstance(monitor, RevisesLabels) else None
        self.says = monitor if isinstance(monitor, SaysWhatItWatches) else None
        self._labels_too = monitor if isinstance(monitor, JudgesLabelsToo) else None
        self._found: dict[tuple[str, str, str], Finding] = {}
        self._named: list[Finding] | None = None
        self._passed: dict[tuple[str, str, str], Finding] = {}
        self._entry = entry

    @property
    def fed_by(self) -> str:
        """What it lives on, in one word."""
        return "labels" if self.needs.labels else "rows"

    @property
    def found(self) -> Collection[Finding]:
        """What it found last by metric, subject and segment; a view that changes with it."""
        return self._found.values()

    @property
    def latest(self) -> list[Finding]:
        """The same with the model's name and version."""
        if self._named is None:  # a busy model fills many windows before somebody asks
            model, version = self._entry.name, self._entry.version
            self._named = [replace(each, model=model, version=version) for each in self.found]
        return self._named

    def feed(self, labelled: bool) -> str:
        """Return what rows are called that keep findings fresh.

        Args:
            labelled: whether their truth is known.
        """
        return f"{self.name}/labels" if labelled and not self.needs.labels else self.name

    @property
    def feeds(self) -> set[str]:
        """Return what all rows are called that it has a use for."""
        return {self.feed(labelled=False), self.feed(labelled=True)}

    def feed_of(self, found: Finding) -> str:
        """Return what rows a finding rests on, as `feed` calls them."""
        return self.feed(self._labels_too is not None and self._labels_too.of_labels(found))

    def take(self, found: Sequence[Finding]) -> None:
        """Remember what the monitor has found.

        A monitor may judge some of its metrics at one time and the others at another.
        """
        self._found.update({_what(each): each for each in found})
        self._passed.update({_what(each): each for each in found if each.breached})
        self._named = None

    def take_passed(self) -> list[Finding]:
        """Return, once, breaches of windows that others have followed since the last call.

        Of each metric, subject and segment the latest one: a push of many labels fills many
        windows at once, and all but the last would go unnoticed.
        """
        passed, self._passed = self._passed, {}
        model, version = self._entry.name, self._entry.version
        return [
            replace(each, model=model, version=version)
            for what, each in passed.items()
            if self._found.get(what) is not each
        ]

    def reset_reference(self) -> None:
        """Begin a new reference."""
        assert self.learns is not None
        self.learns.reset()
        self._found.clear()
        self._passed.clear()
        self._named = None

    def watched(self, now: float) -> WatchedMonitor | None:
        """Return what it watches, how strictly, and what it can see; None: it does not say."""
        if self.says is None:
            return None
        return watched_record(
            self.says.watched(now),
            version=self._entry.version,
            monitor=self.name,
            title=self.title,
            filled=self.monitor.filled[0],
        )

    @property
    def waits_for(self) -> str:
        """Why there is no finding yet, in words that each row leaves as they are; else empty."""
        if self._found:
            return ""
        if self.learns is not None and not self.learns.ready:
            return "its reference is being collected"
        return f"no window of {'labelled rows' if self.needs.labels else 'rows'} is full yet"

    def not_judged(self, model: str) -> str:
        """Return why there is no finding yet; empty when there is one.

        Args:
            model: the model in words.
        """
        if self._found:
            return ""
        if self.learns is not None and not self.learns.ready:
            return f"{self.title} of {model}: {self.learns.progress}"
        kind = "labelled rows" if self.needs.labels else "rows"
        rows, size = self.monitor.filled
        return f"{self.title} of {model}: no verdict yet, {rows} of {size} {kind}"

    def restore(self, state: dict[str, Any]) -> list[Finding]:
        """Go on from what the monitor's `state` returned; returns findings that still stand.

        Raises:
            ValueError, KeyError, TypeError: the state is not of such a monitor.
        """
        self.take(self.monitor.restore(state))
        return self.latest


def _what(finding: Finding) -> tuple[str, str, str]:
    return finding.metric, finding.subject, finding.segment
