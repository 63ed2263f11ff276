"""Everything that watches one model version: its monitors, its recent rows, its findings."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from monitors.drift import DriftMonitor, every_column
from monitors.events import LabelEvent, PredictionEvent
from monitors.finding import Finding
from monitors.label_join import JoinedRow
from monitors.live_drift import LiveDriftMonitor
from monitors.monitor import Monitor
from monitors.non_finite import NonFiniteMonitor
from monitors.selection_rate_difference import SelectionRateMonitor
from serving.channel.observation import LabelCounts
from serving.config import DriftMonitor as DriftConfig
from serving.config import ModelConfig
from serving.errors import Unsupported
from serving.models.columns import input_columns
from serving.models.profile_files import read_drift_reference
from serving.models.repository import ModelEntry
from serving.protocol.datatypes import bf16_to_fp32
from serving.protocol.finite import MAY_BE_NON_FINITE
from serving.roles.finding_series import FindingSeries
from serving.roles.recent_rows import RecentRows
from serving.roles.truth_watch import TruthWatch, class_output
from serving.telemetry.counters import SeriesSet

RECENT_ROWS: Final = 1000

_log = logging.getLogger("vigil.monitor")


class ModelWatch:
    """The monitors of one model version.

    Args:
        entry: the version; its profile is read here.
        series: where the findings are published as metrics.

    Raises:
        ConfigError: the profile is damaged.
    """

    def __init__(self, entry: ModelEntry, series: SeriesSet) -> None:
        self.entry = entry
        self._notes: list[str] = []
        self._series = FindingSeries(series, entry.name, entry.version)
        drift = entry.config.monitors.drift
        self._recent = RecentRows(drift.window if drift else RECENT_ROWS)
        self._monitors: dict[str, Monitor] = {}
        self._live: LiveDriftMonitor | None = None
        self._shown: dict[str, list[Finding]] = {}
        if drift:
            self._watch_drift(drift)
        output = class_output(entry.config)
        self._truth = TruthWatch(output) if output else None
        self._fairness = _fairness(entry.config)
        if self._fairness:
            self._monitors["fairness"] = self._fairness
        outputs = [s.name for s in entry.config.outputs if s.datatype in MAY_BE_NON_FINITE]
        if outputs:
            self._monitors["quality"] = NonFiniteMonitor(outputs)

    def _watch_drift(self, config: DriftConfig) -> None:
        if config.reference == "live":
            self._live = self._monitors["drift"] = LiveDriftMonitor(
                config.reference_rows, config.window, config.false_alarm_rate, config.min_psi
            )
            return
        reference = read_drift_reference(self.entry)
        if reference is None:
            self._notes.append(
                f"drift of model '{self.entry.name}' is not watched: the version has no profile; "
                f"run `vigil profile {self.entry.name} --data FILE`, or set "
                f"monitors.drift.reference to live in its model.yaml"
            )
            return
        self._monitors["drift"] = DriftMonitor(
            reference,
            every_column(reference),
            window=config.window,
            false_alarm_rate=config.false_alarm_rate,
            min_psi=config.min_psi,
        )

    def update(self, event: PredictionEvent) -> None:
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
            self._publish(name, monitor)
        if self._truth:
            with self._guarded("performance"):
                self._joined(self._truth.predicted(event))

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
            Unsupported: the model is no classifier.
            InvalidInput: a label names no class of the model.
        """
        self._classifier().check(labels)

    def label(self, labels: Sequence[LabelEvent], now: float) -> LabelCounts:
        """Join labels with predictions.

        Raises:
            Unsupported: the model is no classifier.
            InvalidInput: a label names no class of the model; then none was taken in.
        """
        counts, joined = self._classifier().labelled(labels, now)
        self._joined(joined)
        return counts

    def _classifier(self) -> TruthWatch:
        if self._truth is None:
            raise Unsupported(f"model '{self.entry.name}' takes no labels: it is no classifier")
        return self._truth

    def _joined(self, rows: Sequence[JoinedRow]) -> None:
        assert self._truth is not None
        self._series.coverage(self._truth.coverage)
        if rows:
            if self._fairness:
                self._fairness.update_joined(rows)
            self._publish("performance", self._truth)

    def recent(self) -> dict[str, np.ndarray]:
        """Return the columns of the latest rows."""
        return self._recent.columns()

    def findings(self) -> list[Finding]:
        """Return the latest finding per monitor, metric and subject."""
        latest = {
            (finding.monitor, finding.metric, finding.subject): finding
            for findings in self._shown.values()
            for finding in findings
        }
        return list(latest.values())

    @property
    def notes(self) -> list[str]:
        """What is not watched and why, and what drift is compared with; one sentence each."""
        if self._live is None:
            return self._notes
        return [*self._notes, f"drift of model '{self.entry.name}': {self._live.progress}"]

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
        return self._live.progress

    def state(self) -> dict[str, Any]:
        """Return the monitors' states as JSON-serialisable values."""
        return {name: kept.state() for name, kept in self._kept().items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned; a monitor that has changed since begins anew."""
        for name, kept in self._kept().items():
            if name not in state:
                continue
            try:
                kept.restore(state[name])
            except (ValueError, KeyError, TypeError):
                self._notes.append(
                    f"{name} of model '{self.entry.name}' began anew: its reference or window "
                    f"is not what it was before the restart"
                )
                continue
            self._shown[name] = list(kept.evaluate())
            self._series.show(self._shown[name])

    def _kept(self) -> dict[str, Monitor | TruthWatch]:
        performance = {"performance": self._truth} if self._truth else {}
        return {**self._monitors, **performance}

    def _publish(self, name: str, source: Monitor | TruthWatch) -> None:
        findings = list(source.evaluate())
        shown = self._shown.get(name)
        # Monitors return the same objects until the next window is complete.
        if findings and (not shown or findings[0] is not shown[0]):
            self._shown[name] = findings
            self._series.show(findings)
            self._series.count_alarms(findings)

    @contextlib.contextmanager
    def _guarded(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 - the other monitors go on
            # Only the kind of error: its text may quote values.
            _log.error("%s of %s failed: %s", name, self.entry.name, type(error).__name__)


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
