"""How good a model probably is on rows whose truth nobody knows yet, and how far that was off."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np

from monitors.estimation.conformal_band import Estimated
from monitors.estimation.fitted import FittedEstimation
from monitors.estimation.harm_evidence import HarmEvidence, conformal_p
from monitors.estimation.past_estimates import PastEstimates
from monitors.estimation.predictions import Predictions
from monitors.estimation.realised_error import Realised, RealisedErrors
from monitors.estimation.row_buffer import RowBuffer
from monitors.estimation.trust import Verdict
from monitors.finding import (
    ESTIMATION_ERROR,
    NO_THRESHOLD,
    Finding,
    Severity,
    findings_from_state,
    findings_to_state,
)
from monitors.monitor import Needs
from monitors.rows import Rows
from monitors.watched import Item, Watched
from monitors.windows.tumbling_window import TumblingWindow

MONITOR: Final = "estimation"
CLASS_METRICS: Final = ("accuracy", "balanced_accuracy", "auroc", "log_loss", "brier")
NUMBER_METRICS: Final = ("mae", "rmse")
_RISING: Final = ("log_loss", "brier", "mae", "rmse")
"""Metrics that are bad above their threshold."""


@dataclass(frozen=True, slots=True)
class EstimationSettings:
    """What is estimated and judged.

    Attributes:
        thresholds: by metric; others have no verdict.
        every_s: seconds from the beginning of a window to that of the next one at least.
        rate: false alerts that are expected per quarter, over all metrics.
    """

    thresholds: Mapping[str, float]
    every_s: float
    rate: float


class EstimatedPerformanceMonitor:
    """Estimated metrics over windows of rows, and their realised errors over labelled rows.

    A window has as many rows as a chunk of the reference. Rows that come before `every_s` is over
    are not looked at. The interval of an estimate is its conformal band.

    An estimate beyond its threshold alerts once `HarmEvidence` has enough: as a ticket while
    labels say that its band holds (`Trust`), as an info while too few labels have come to say
    so, and not at all once they say that it does not.

    Args:
        fitted: how estimates are made.
        settings: what is judged.
    """

    def __init__(self, fitted: FittedEstimation, settings: EstimationSettings) -> None:
        self._classes = fitted.reference.predictions.scores is not None
        self._metrics = CLASS_METRICS if self._classes else NUMBER_METRICS
        self._fitted, self._figures = fitted, fitted.figures()
        self._settings = settings
        self._needs = Needs(
            columns=bool(fitted.columns.columns), predicted=True, scores=True, truths=True
        )
        self._begin_anew()

    def _begin_anew(self) -> None:
        fitted, settings = self._fitted, self._settings
        self._window = TumblingWindow(fitted.chunk_rows)
        self._rows = RowBuffer()
        self._next = -math.inf
        self._past = PastEstimates(self._metrics)
        self._realised = RealisedErrors(fitted, self._metrics, self._past)
        judged = [name for name in self._metrics if name in settings.thresholds]
        each = settings.rate / max(len(judged), 1)
        self._evidence = {name: HarmEvidence(each, settings.every_s) for name in judged}
        self._estimates: list[Finding] = []
        self._errors: list[Finding] = []

    @property
    def needs(self) -> Needs:
        """Predictions, and rows whose truth became known."""
        return self._needs

    @property
    def filled(self) -> tuple[int, int]:
        """Rows in the current window, and how many complete it."""
        return self._window.rows, self._window.size

    def of_labels(self, finding: Finding) -> bool:
        """Whether a finding rests on labelled rows: a realised error does."""
        return finding.metric.endswith(ESTIMATION_ERROR)

    def watched(self, now: float) -> Watched:
        """Return the metrics. What their estimates can see is open: no rate of finding is known."""
        judged = len(self._evidence)
        items = [
            Item(
                metric=name,
                statistic="estimated without labels",
                severity="ticket",
                threshold=self._settings.thresholds.get(name),
                not_judged="" if name in self._evidence else NO_THRESHOLD,
                false_alarms=self._settings.rate / judged if name in self._evidence else None,
                basis="how far off estimates of the profile's chunks are",
                unit="metric",
            )
            for name in self._metrics
        ]
        return Watched(
            items=tuple(items),
            reference="thresholds",
            window=self._window.size,
            false_alarms=self._settings.rate if judged else None,
            streams=judged,
        )

    def tick(self, now: float) -> list[Finding]:
        """Return nothing: windows are counted in rows."""
        return []

    def update(self, rows: Rows, now: float) -> list[Finding]:
        """Estimate from predictions, compare with labels."""
        if rows.labels is not None:
            return self._labelled(rows)
        closed: list[Finding] = []
        start = 0
        while start < rows.n:
            if not self._window.rows and rows.timestamp < self._next:
                break
            stop = min(start + self._window.size - self._window.rows, rows.n)
            self._take(rows.part(slice(start, stop)), closed)
            start = stop
        return closed

    def _take(self, rows: Rows, closed: list[Finding]) -> None:
        assert rows.predicted is not None
        given: dict[str, np.ndarray] = {
            "codes": self._fitted.columns.codes(rows.columns, rows.n),
            "predicted": rows.predicted,
        }
        if self._classes:
            nothing = np.full((rows.n, self._scores_wide), np.nan)
            scores = nothing if rows.scores is None else rows.scores
            given["scores"] = scores.astype(np.float64)

        def close() -> None:
            closed.extend(self._close())

        self._window.add(rows.n, rows.timestamp, lambda _: self._rows.add(given, rows.n), close)

    @property
    def _scores_wide(self) -> int:
        scores = self._fitted.reference.predictions.scores
        return 0 if scores is None else scores.shape[1]

    def _close(self) -> list[Finding]:
        span, rows = self._window.span, self._rows.take()
        self._next = span[0] + self._settings.every_s
        known = np.isfinite(rows["predicted"].astype(np.float64))
        if self._classes:
            known &= np.isfinite(rows["scores"]).all(axis=1) & (rows["predicted"] >= 0)
        estimates = self._estimated({name: array[known] for name, array in rows.items()})
        if estimates:
            self._past.add(span[0], {name: each.value for name, each in estimates.items()})
        left_out = int((~known).sum())
        self._estimates = [
            self._finding(name, estimates.get(name), span, left_out) for name in self._metrics
        ]
        return list(self._estimates)

    def _estimated(self, rows: Mapping[str, np.ndarray]) -> Mapping[str, Estimated]:
        if not len(rows["predicted"]):
            return {}
        return self._figures.estimate(
            Predictions(
                features=self._fitted.columns.features(rows["codes"]),
                scores=rows.get("scores"),
                predicted=rows["predicted"],
            )
        )

    def _finding(
        self, name: str, estimate: Estimated | None, span: tuple[float, float], left_out: int
    ) -> Finding:
        trust = self._realised.verdict(name)
        threshold = self._settings.thresholds.get(name)
        value = math.nan if estimate is None else estimate.value
        enough, p_value = False, None
        if estimate is not None and threshold is not None and not math.isnan(value):
            p_value = conformal_p(value, threshold, self._fitted.errors[name], _direction(name))
            enough = self._evidence[name].add(p_value, *span)
        beyond = threshold is not None and _beyond(name, value, threshold)
        reason = self._unknown(value, threshold, trust)
        breached = None if reason else enough and beyond
        detail = {
            "method": self._fitted.method,
            "why": self._fitted.why,
            "coverage": self._figures.coverage,
            "trust": _trust_in_words(trust),
        }
        if left_out:
            detail["rows_left_out"] = left_out
        return Finding(
            monitor=MONITOR,
            metric=name,
            subject="",
            value=value,
            ci=_bounds(estimate),
            threshold=threshold,
            direction=_direction(name),
            breached=breached,
            p_value=p_value,
            n_reference=self._fitted.reference.n,
            n_current=self._window.size,
            window=span,
            window_id=self._window.ident,
            reason=reason,
            severity=_severity(trust),
            since=self._evidence[name].since if breached else None,
            detail=detail,
        )

    def _unknown(self, value: float, threshold: float | None, trust: Verdict) -> str:
        """Return why there is no verdict; empty: there is one."""
        if math.isnan(value):
            what = "scores and answer are" if self._classes else "answer is a"
            return f"no row of the window whose {what} finite, or the metric is not defined of it"
        if trust.trusted is False:
            return _not_trusted(trust)
        return NO_THRESHOLD if threshold is None else ""

    # -- labels -------------------------------------------------------------------------

    def _labelled(self, rows: Rows) -> list[Finding]:
        found: list[Finding] = []
        for realised in self._realised.add(rows):
            self._errors = [self._error(name, realised) for name in realised.truth]
            found += self._errors
        if not found:
            return []
        trusted = [self._trusted_now(each) for each in self._estimates]
        found += [
            now for now, before in zip(trusted, self._estimates, strict=True) if now is not before
        ]
        self._estimates = trusted
        return found

    def _trusted_now(self, finding: Finding) -> Finding:
        """Return an estimate as it is trusted since labels have come; the same where it was so."""
        trust = self._realised.verdict(finding.metric)
        told = _trust_in_words(trust)
        if told.partition(":")[0] == str(finding.detail["trust"]).partition(":")[0]:
            return finding
        reason = finding.reason
        if finding.breached is not None and trust.trusted is False:
            reason = _not_trusted(trust)
        return replace(
            finding,
            breached=None if reason else finding.breached,
            since=None if reason else finding.since,
            reason=reason,
            severity=_severity(trust),
            detail={**finding.detail, "trust": told},
        )

    def _error(self, name: str, realised: Realised) -> Finding:
        trust = self._realised.verdict(name)
        estimate, truth = realised.estimates[name], realised.truth[name]
        error = abs(estimate.value - truth)
        reach = self._realised.reach[name]
        threshold = reach if math.isfinite(reach) else None
        known = {"estimate": estimate.value, "realised": truth}
        return Finding(
            monitor=MONITOR,
            metric=f"{name}{ESTIMATION_ERROR}",
            subject="",
            value=error,
            threshold=threshold,
            direction="above",
            breached=None if trust.trusted is None or threshold is None else not trust.trusted,
            p_value=trust.p_value,
            n_reference=self._fitted.reference.n,
            n_current=realised.rows,
            window=realised.span,
            window_id=realised.ident,
            reason=trust.why if trust.trusted is None or threshold is None else "",
            severity="info",
            detail={
                "method": self._fitted.method,
                "trust": trust.why,
                **{which: each for which, each in known.items() if not math.isnan(each)},
            },
        )

    # -- what is saved ------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return what is needed to go on after a restart, as JSON values."""
        return {
            "window": self._window.state(),
            "rows": self._rows.state(),
            "next": None if self._next == -math.inf else self._next,
            "past": self._past.state(),
            "realised": self._realised.state(),
            "evidence": {name: each.state() for name, each in self._evidence.items()},
            "findings": findings_to_state([*self._estimates, *self._errors]),
        }

    def restore(self, state: dict[str, Any]) -> Sequence[Finding]:
        """Go on from what `state` returned; evidence against other thresholds begins anew.

        Raises:
            ValueError, KeyError, TypeError: the state is of other metrics.
        """
        try:
            self._restore(state)
        except Exception:
            self._begin_anew()
            raise
        return [*self._estimates, *self._errors]

    def _restore(self, state: dict[str, Any]) -> None:
        self._window.restore(state["window"])
        self._rows.restore(state["rows"])
        self._next = -math.inf if state["next"] is None else float(state["next"])
        self._past.restore(state["past"])
        self._realised.restore(state["realised"])
        found = findings_from_state(state["findings"])
        estimates = [each for each in found if not self.of_labels(each)]
        saved = state["evidence"]
        if self._window.rows > self._window.size or self._window.rows != self._rows.rows:
            raise ValueError("the window is of another size")
        wanted = self._settings.thresholds
        if any(each.threshold != wanted.get(each.metric) for each in estimates):
            return
        for name, evidence in self._evidence.items():
            if name in saved:
                evidence.restore(saved[name])
        self._estimates = estimates
        self._errors = [each for each in found if self.of_labels(each)]


def _direction(name: str) -> Literal["above", "below"]:
    return "above" if name in _RISING else "below"


def _beyond(name: str, value: float, threshold: float) -> bool:
    return value > threshold if name in _RISING else value < threshold


def _bounds(estimate: Estimated | None) -> tuple[float, float] | None:
    if estimate is None or not (math.isfinite(estimate.low) and math.isfinite(estimate.high)):
        return None
    return estimate.low, estimate.high


def _severity(trust: Verdict) -> Severity:
    return "ticket" if trust.may_alert else "info"


def _not_trusted(trust: Verdict) -> str:
    return f"the estimate is not trusted: {trust.why}"


def _trust_in_words(trust: Verdict) -> str:
    if trust.trusted is None:
        return f"not tested yet: {trust.why}"
    return f"trusted: {trust.why}" if trust.trusted else f"not trusted: {trust.why}"
