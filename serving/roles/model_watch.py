"""Everything that watches one model version: its monitors, its recent rows, its findings."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from monitors.drift import DriftMonitor, every_column
from monitors.events import LabelEvent, PredictionEvent
from monitors.finding import Finding
from monitors.forgotten_keys import ForgottenKeys
from monitors.label_join import Entry, JoinedRow
from monitors.live_drift import LiveDriftMonitor
from monitors.monitor import Monitor
from monitors.non_finite import NonFiniteMonitor
from monitors.selection_rate_difference import SelectionRateMonitor
from serving.channel.observation import LabelCounts
from serving.config import CLASS_OUTPUT, ConfigError, ModelConfig
from serving.config import DriftMonitor as DriftConfig
from serving.errors import Unsupported
from serving.logs.events import Event
from serving.logs.report import report
from serving.models.columns import fixed_columns, input_columns
from serving.models.profile_files import read_drift_reference
from serving.models.repository import ModelEntry
from serving.protocol.datatypes import FLOATING, bf16_to_fp32
from serving.roles.finding_json import stale
from serving.roles.finding_series import FindingSeries
from serving.roles.freshness import Freshness
from serving.roles.recent_rows import RecentRows
from serving.roles.truth_watch import TruthWatch
from serving.telemetry.counters import SeriesSet

RECENT_ROWS: Final = 1000


class ModelWatch:
    """The monitors of one model version.

    Args:
        entry: the version; its profile is read here.
        series: where the findings are published as metrics.
        forgotten: keys of predictions of the model that are not stored any more.
        upstream_as: what counters call the version where it is another server's; empty: it is
            one that is served here.
    """

    def __init__(
        self,
        entry: ModelEntry,
        series: SeriesSet,
        forgotten: ForgottenKeys,
        *,
        upstream_as: str = "",
    ) -> None:
        self.entry = entry
        told = f" version '{entry.version}' upstream" if upstream_as else ""
        self._model = f"model '{entry.name}'{told}"
        config = entry.config
        self._notes: list[str] = []
        self._failures: dict[str, str] = {}
        self._series = FindingSeries(series, entry.name, entry.version, upstream_as)
        self._fresh = Freshness(config.monitors.stale_after_s)
        drift = config.monitors.drift
        self._recent = RecentRows(drift.window if drift else RECENT_ROWS)
        self._monitors: dict[str, Monitor] = {}
        self._live: LiveDriftMonitor | None = None
        self._shown: dict[str, list[Finding]] = {}
        if drift:
            self._watch_drift(drift)
        else:
            self._notes.append(f"drift of {self._model} is not watched: its monitors.drift is null")
        output = config.class_output if config.takes_labels else None
        performance = config.monitors.performance
        self._truth = TruthWatch(output, performance, forgotten) if output else None
        self._fairness = _fairness(config)
        if self._fairness:
            self._monitors["fairness"] = self._fairness
        outputs = [s.name for s in config.outputs if s.datatype in FLOATING]
        if outputs and config.monitored:
            self._monitors["quality"] = NonFiniteMonitor(outputs)

    def _watch_drift(self, config: DriftConfig) -> None:
        if config.reference == "live":
            self._live = self._monitors["drift"] = LiveDriftMonitor(
                config.reference_rows, config.window, config.false_alarm_rate, config.min_psi
            )
            return
        try:
            reference = read_drift_reference(self.entry)
        except ConfigError as error:
            # The other monitors, and labels, have no need of it.
            self._not_watched(error.message)
            return
        if reference is None or not reference.columns:
            self._not_watched(
                f"the version has no profile; run `vigil profile {self.entry.name} --data FILE`, "
                f"or set monitors.drift.reference to live in its model.yaml"
            )
            return
        absent = sorted(fixed_columns(self.entry.config) - reference.columns.keys())
        if absent:
            names = ", ".join(f"'{name}'" for name in absent[:5])
            more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
            self._not_watched(
                f"the profile has no column {names}{more}; run `vigil profile` again", " in part"
            )
        self._monitors["drift"] = DriftMonitor(
            reference,
            every_column(reference),
            window=config.window,
            false_alarm_rate=config.false_alarm_rate,
            min_psi=config.min_psi,
        )

    def _not_watched(self, why: str, part: str = "") -> None:
        self._notes.append(f"drift of {self._model} is not watched{part}: {why}")
        self._report(Event.MONITOR_BLIND, self._notes[-1], "drift")

    def _report(self, event: Event, said: str, monitor: str, **more: Any) -> None:
        model, version = self.entry.name, self.entry.version
        report(event, said, model=model, version=version, monitor=monitor, **more)

    def update(self, event: PredictionEvent, now: float) -> None:
        """Show a batch to every monitor; one that fails does not disturb the others."""
        columns = input_columns(event.inputs, self.entry.config)
        self._recent.append(columns, event.rows)
        views = {
            "drift": replace(event, inputs=columns),
            "quality": replace(event, outputs=self._widened(event.outputs)),
        }
        for name, monitor in self._monitors.items():
            with self._guarded(name):
                monitor.update(views.get(name, event))
                self._fresh.fed(name, now)
            self._publish(name, monitor)
        if self._truth:
            with self._guarded("performance"):
                self._joined(self._truth.predicted(event), now)

    @property
    def had_rows(self) -> bool:
        """Whether a monitor has ever had rows of this version."""
        return self._fresh.begun

    def _widened(self, outputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Return outputs as numbers: BF16 travels as its bits."""
        bits = {s.name for s in self.entry.config.outputs if s.datatype == "BF16"}
        return {
            name: bf16_to_fp32(array) if name in bits else array for name, array in outputs.items()
        }

    def predicted(self, label: LabelEvent) -> bool:
        """Whether a label's prediction was made by this version and is stored."""
        return self._truth is not None and self._truth.knows(label)

    def check_labels(self, labels: Sequence[LabelEvent]) -> None:
        """Find out whether labels can be taken in.

        Raises:
            Unsupported: no monitor has a use for them.
            InvalidInput: a label names no class of the model.
        """
        self._classifier().check(labels)

    def label(self, labels: Sequence[LabelEvent], now: float) -> LabelCounts:
        """Join labels with predictions.

        Raises:
            Unsupported: no monitor has a use for them.
            InvalidInput: a label names no class of the model; then none was taken in.
        """
        counts, joined = self._classifier().labelled(labels, now)
        self._joined(joined, now)
        return counts

    def _classifier(self) -> TruthWatch:
        if self._truth is None:
            why = (
                "its monitors.performance is null, and it has no fairness"
                if self.entry.config.class_output
                else f"it is no classifier; one answers {CLASS_OUTPUT}"
            )
            raise Unsupported(f"model '{self.entry.name}' takes no labels: {why}")
        return self._truth

    def _joined(self, rows: Sequence[JoinedRow], now: float) -> None:
        assert self._truth is not None
        self._series.coverage(self._truth.coverage)
        if rows:
            if self._fairness:
                self._fairness.update_joined(rows)
            self._fresh.fed("performance", now)
            self._publish("performance", self._truth)

    def recent(self) -> dict[str, np.ndarray]:
        """Return the columns of the latest rows.

        Raises:
            Unsupported: inputs are not watched.
        """
        if self.entry.config.monitors.drift is None:
            raise Unsupported(
                f"model '{self.entry.name}' has no recent rows to report on: its monitors.drift "
                f"is null in model.yaml"
            )
        return self._recent.columns()

    def findings(self, now: float) -> list[Finding]:
        """Return the latest finding per monitor, metric and subject; stale ones as unknown."""
        old = self._fresh.refresh(now)
        latest = {
            (finding.monitor, finding.metric, finding.subject): stale(
                finding, self._fresh.idle_s(name, now)
            )
            if name in old
            else finding
            for name, findings in self._shown.items()
            for finding in findings
        }
        return list(latest.values())

    def refresh(self, now: float) -> None:
        """End the metrics of findings that are stale."""
        for name in self._fresh.refresh(now):
            self._series.hide(name)

    def end(self) -> None:
        """Leave no metric and no prediction behind: the version is not served any more."""
        self._series.end()
        if self._truth:
            self._truth.forget()

    @property
    def notes(self) -> list[str]:
        """What is not judged and why, and what drift is compared with; one sentence each."""
        if self._live is None or not self._live.ready:
            return self.not_judged
        return [f"drift of {self._model}: {self._live.progress}", *self.not_judged]

    @property
    def not_judged(self) -> list[str]:
        """What is not watched, not judged yet, or failed, and why; one sentence each."""
        model = self._model
        told = list(self._notes)
        for name, kept in self._kept().items():
            if name in self._shown or not self._judges(name):
                continue
            if kept is self._live and not self._live.ready:
                told.append(f"drift of {model}: {self._live.progress}")
                continue
            what, kind = ("accuracy", "labelled rows") if name == "performance" else (name, "rows")
            rows, size = kept.filled
            told.append(f"{what} of {model}: no verdict yet, {rows} of {size} {kind}")
        failed = self._failures.items()
        return [*told, *(f"{name} of {model} failed: {error}" for name, error in failed)]

    def _judges(self, name: str) -> bool:
        return name != "performance" or self.entry.config.monitors.performance is not None

    def reset_reference(self) -> str:
        """Begin a new live reference; returns its state in a few words.

        Raises:
            Unsupported: drift is not compared with live rows.
        """
        if self._live is None:
            raise Unsupported(
                f"model '{self.entry.name}' has no live reference: its monitors.drift.reference "
                f"is profile; `vigil profile` makes a new one"
            )
        self._live.reset()
        self._shown.pop("drift", None)
        self._series.hide("drift")
        return self._live.progress

    # -- what is saved ------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return the monitors' states as JSON-serialisable values; predictions are entries."""
        states = {name: kept.state() for name, kept in self._kept().items()}
        return {**states, "freshness": self._fresh.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned; a monitor that has changed since begins anew."""
        for name, kept in self._kept().items():
            if name not in state:
                continue
            try:
                kept.restore(state[name])
            except (ValueError, KeyError, TypeError):
                self._notes.append(
                    f"{name} of {self._model} began anew: its reference, window or "
                    f"threshold is not what it was before the restart"
                )
                self._report(Event.MONITOR_BEGAN_ANEW, self._notes[-1], name)
                continue
            found = list(kept.evaluate())
            if found:
                self._shown[name] = found
                self._series.show(name, found)
        self._fresh.restore(state["freshness"])

    def changes(self) -> list[Entry]:
        """Return predictions and labels that differ from those of the last call, as entries."""
        return self._truth.changes() if self._truth else []

    def entries(self) -> Iterator[Entry]:
        """Yield all predictions and labels that are stored, as entries."""
        if self._truth:
            yield from self._truth.entries()

    def restore_entries(self, entries: Sequence[Entry]) -> None:
        """Take in predictions and labels that were saved."""
        if self._truth:
            self._truth.restore_entries(entries)

    def _kept(self) -> dict[str, Monitor | TruthWatch]:
        performance = {"performance": self._truth} if self._truth else {}
        return {**self._monitors, **performance}

    def _publish(self, name: str, source: Monitor | TruthWatch) -> None:
        findings = list(source.evaluate())
        shown = self._shown.get(name)
        # Monitors return the same objects until they have judged anew.
        if findings and (not shown or any(map(operator.is_not, findings, shown))):
            self._shown[name] = findings
            self._fresh.judged(name)
            self._series.show(name, findings)
            self._series.count_alarms(findings)

    @contextlib.contextmanager
    def _guarded(self, name: str) -> Iterator[None]:
        try:
            yield
            self._failures.pop(name, None)
        except Exception as error:  # noqa: BLE001 - the other monitors go on
            # Only the kind of error: its text may quote values.
            self._failures[name] = type(error).__name__
            said = f"{name} of model '{self.entry.name}' failed and missed a batch"
            self._report(Event.MONITOR_FAILED, said, name, error=error)


def _fairness(config: ModelConfig) -> SelectionRateMonitor | None:
    wanted = config.fairness
    if wanted is None:
        return None
    output = config.outputs[0]
    return SelectionRateMonitor(
        wanted.sensitive,
        (output.classes or []).index(wanted.favorable),
        output.name,
        wanted.tolerance.demographic_parity_difference,
        wanted.window,
    )
