"""From decisions about statistics to findings about columns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from monitors.alarms.decisions import Decisions
from monitors.drift.effects import Effects, EffectSizes
from monitors.drift.evidence import Decided, histogram, rounded
from monitors.drift.features.vector import CORRELATION, FeatureVector, Tally
from monitors.drift.moved_pairs import MovedPairs
from monitors.finding import Finding
from monitors.reference.categorical_column import CategoricalColumn
from monitors.reference.numeric_column import NumericColumn
from monitors.reference.profile import Column, ReferenceProfile

NO_CATEGORIES: Final = "not watched: no text of it is frequent enough to be a category"
NOTHING_WATCHED: Final = "not watched: no column has numbers or categories to compare"
MOST_PAIRS: Final = 10
"""Pairs of columns that a finding names."""

Fields = Mapping[str, Any]
"""Fields of a finding by name."""


@dataclass(frozen=True, slots=True)
class Window:
    """Which rows findings are about.

    Attributes:
        span: first and last event time.
        ident: see `TumblingWindow.ident`.
        rows: how many.
    """

    span: tuple[float, float]
    ident: str
    rows: int


class ColumnFindings:
    """Makes findings of what a law has decided.

    Args:
        reference: what windows are compared with.
        features: the statistics that were decided.
        min_psi: PSI below which a column has no alarm.
        monitor: name in the findings.
        total: metric of the number of columns that have drifted.

    Attributes:
        n_reference: rows of the reference.
        not_watched: columns without anything to compare.
    """

    def __init__(
        self,
        reference: ReferenceProfile,
        features: FeatureVector,
        min_psi: float,
        monitor: str,
        total: str,
    ) -> None:
        self._features, self._min_psi, self._total = features, min_psi, total
        self.n_reference = reference.n
        codes = features.codes
        self._effects = EffectSizes(codes.tracks)
        self._tracks: dict[str, list[int]] = {}
        for at, track in enumerate(codes.tracks):
            self._tracks.setdefault(track.column, []).append(at)
        watched: dict[str, list[int]] = {}
        pairs = []
        for at, stream in enumerate(features.streams):
            if stream.statistic == CORRELATION:
                pairs.append(at)
            else:
                watched.setdefault(stream.column, []).append(at)
        self._streams = {
            name: np.array(watched[name])
            for name, column in reference.columns.items()
            if has_bins(column)
        }
        self._pairs = np.array(pairs, np.int64)
        self._moved = MovedPairs(reference, features) if pairs else None
        self.not_watched = tuple(name for name in reference.columns if name not in self._streams)
        self._empty = {
            "monitor": monitor, "metric": "psi", "subject": "", "value": math.nan,
            "direction": "above", "n_reference": reference.n,
        }  # fmt: skip

    def found(self, window: Window, tally: Tally, decisions: Decisions) -> list[Finding]:
        """Return the findings of a window.

        Args:
            window: which rows.
            tally: what was counted of them.
            decisions: about every statistic.
        """
        counts = tally.counts
        # Made of what they share, without the checks of `dataclasses.replace`: there are dozens.
        empty: Fields = {
            **self._empty, "window": window.span, "window_id": window.ident,
            "n_current": window.rows,
        }  # fmt: skip
        told = Decided(decisions)
        deciding = {name: _deciding(at, decisions) for name, at in self._streams.items()}
        factors = np.ones(len(self._features.codes.tracks))
        for name, stream in deciding.items():
            factors[self._tracks[name]] = np.fmax(decisions.factor[stream], 1.0)
        effects = self._effects.of(counts, factors)
        columns = [
            self._of_column(name, at, counts, effects, decisions, told, empty)
            for name, at in deciding.items()
        ]
        found = [finding for findings in columns for finding in findings]
        unknown = {**empty, "reason": NO_CATEGORIES}
        found.extend(Finding(**{**unknown, "subject": name}) for name in self.not_watched)
        if self._moved is not None:
            found.append(self._of_pairs(self._moved, tally, decisions, told, empty))
        return [*found, self._of_all([each[0] for each in columns], empty)]

    def _of_column(
        self,
        name: str,
        at: int,
        counts: np.ndarray,
        effects: Effects,
        decisions: Decisions,
        told: Decided,
        empty: Fields,
    ) -> list[Finding]:
        """Return a column's findings; its statistic `at` decides."""
        track = max(self._tracks[name], key=lambda one: effects.psi[one])
        psi, reach, gap = (float(each[track]) for each in effects)
        breached = bool(decisions.alarm[at]) and not psi < self._min_psi
        detail = told.of(at, self._features.streams[at])
        if breached:
            codes = self._features.codes
            current = counts[codes.starts[track] : codes.starts[track + 1]]
            detail["histogram"] = histogram(codes.tracks[track], current)
        verdict: Fields = {
            **empty,
            "subject": name,
            "breached": breached,
            "p_value": _adjusted(decisions.p[self._streams[name]].min(), decisions),
            "since": _since(decisions, at) if breached else None,
        }
        found = Finding(**{
            **verdict,
            "value": psi,
            "ci": None if math.isnan(reach) else (psi - reach, psi + reach),
            "threshold": self._min_psi or None,
            "detail": detail,
        })  # fmt: skip
        if not isinstance(self._features.codes.tracks[track].bins, NumericColumn):
            return [found]
        return [found, Finding(**{**verdict, "metric": "ks", "value": gap})]

    def _of_pairs(
        self,
        moved: MovedPairs,
        tally: Tally,
        decisions: Decisions,
        told: Decided,
        empty: Fields,
    ) -> Finding:
        alarms = self._pairs[decisions.alarm[self._pairs]].tolist()
        since = [at for each in alarms if (at := _since(decisions, each)) is not None]
        streams = [self._features.streams[at] for at in alarms]
        named = moved.named([each.bucket for each in streams], tally, empty["n_current"])
        changed = [
            {**pair, **told.of(at, stream)}
            for pair, at, stream in zip(named, alarms, streams, strict=True)
        ]
        changed.sort(key=lambda pair: -abs(pair["current"] - pair["reference"]))
        return Finding(**{
            **empty,
            "metric": "correlations",
            "value": float(len(alarms)),
            "threshold": 0.0,
            "breached": bool(alarms),
            "p_value": _adjusted(decisions.p[self._pairs].min(), decisions),
            "since": min(since, default=None),
            "detail": {"pairs": changed[:MOST_PAIRS]} if changed else {},
        })  # fmt: skip

    def _of_all(self, columns: Sequence[Finding], empty: Fields) -> Finding:
        if not columns:
            return Finding(**{**empty, "metric": self._total, "reason": NOTHING_WATCHED})
        drifted = [each for each in columns if each.breached]
        ranked = sorted(drifted, key=lambda each: -each.value)
        since = [each.since for each in drifted if each.since is not None]
        names = [
            {"column": each.subject, "psi": rounded(each.value), "moved": each.detail["moved"]}
            for each in ranked
        ]
        return Finding(**{
            **empty,
            "metric": self._total,
            "value": float(len(drifted)),
            "threshold": 0.0,
            "breached": bool(drifted),
            "p_value": min(each.p_value for each in columns if each.p_value is not None),
            "since": min(since, default=None),
            "detail": {"columns": names} if names else {},
        })  # fmt: skip


def has_bins(column: Column) -> bool:
    """Whether a change of the column's values can be seen in its counts."""
    if not isinstance(column, CategoricalColumn):
        return True
    return bool(column.categories) or column.known is not None


def _deciding(streams: np.ndarray, decisions: Decisions) -> int:
    """Return which of a column's statistics decides about it.

    An alarm that stands goes before a p-value that happens to be smaller.
    """
    standing = streams[decisions.alarm[streams]]
    among = standing if len(standing) else streams
    return int(among[decisions.p[among].argmin()])


def _adjusted(p: float, decisions: Decisions) -> float:
    return min(float(p) * decisions.streams, 1.0)


def _since(decisions: Decisions, at: int) -> float | None:
    since = float(decisions.since[at])
    return None if math.isnan(since) else since
