"""A monitor of all rows, and one like it for each slice of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from monitors.finding import Finding
from monitors.monitor import (
    JudgesLabelsToo,
    LearnsReference,
    Monitor,
    Needs,
    RevisesLabels,
    SaysWhatItWatches,
)
from monitors.rows import Corrections, Rows
from monitors.watched import Item, Watched

PREFIX: Final = "slice: "
"""Of the names by which `Rows.groups` tell whether a row is in a slice."""
INSIDE: Final = "in"
OUTSIDE: Final = "out"
_STATE: Final = "slices"


def sliced(whole: Monitor, parts: Mapping[str, Monitor]) -> Monitor:
    """Return a monitor that judges all rows, and those of each slice as a segment.

    Rows tell by their groups whether they are in a slice; see `PREFIX`. A row of which that is not
    known is in none.

    Args:
        whole: of all rows.
        parts: of the rows of each slice, by its text; built like `whole`, and with their share of
            what it may spend on false alarms.
    """
    if not parts:
        return whole
    if isinstance(whole, JudgesLabelsToo):
        return _JudgesLabelsToo(whole, parts)
    if isinstance(whole, RevisesLabels):
        return _Revises(whole, parts)
    return _Learns(whole, parts) if isinstance(whole, LearnsReference) else _Sliced(whole, parts)


class _Sliced:
    """See `sliced`."""

    def __init__(self, whole: Any, parts: Mapping[str, Any]) -> None:
        self._whole, self._parts = whole, dict(parts)
        self.needs: Needs = whole.needs

    @property
    def filled(self) -> tuple[int, int]:
        """Rows of the window of all rows."""
        filled: tuple[int, int] = self._whole.filled
        return filled

    def update(self, rows: Rows, now: float) -> list[Finding]:
        """Show rows to the monitor of all, and to those of the slices that they are in."""
        found = list(self._whole.update(rows, now))
        for text, part in self._parts.items():
            inside = _inside(rows, text)
            if inside.any():
                found += _of(text, part.update(rows.some(inside), now))
        return found

    def tick(self, now: float) -> list[Finding]:
        """Let all of them judge by the clock."""
        found = list(self._whole.tick(now))
        for text, part in self._parts.items():
            found += _of(text, part.tick(now))
        return found

    def watched(self, now: float) -> Watched:
        """Return what all of them watch; those of slices with the slice as segment."""
        told = self._whole
        if not isinstance(told, SaysWhatItWatches):
            return Watched(items=(), reference="not told", window=self.filled[1])
        whole = told.watched(now)
        items: list[Item] = list(whole.items)
        not_watched, streams = list(whole.not_watched), whole.streams
        for text, part in self._parts.items():
            one: Watched = part.watched(now)
            items += [replace(each, segment=text) for each in one.items]
            not_watched += [f"slice '{text}': {each}" for each in one.not_watched]
            # One that still collects its reference will have about as many.
            streams += one.streams or whole.streams
        return replace(
            whole, items=tuple(items), not_watched=tuple(not_watched), streams=streams,
            false_alarms=None if whole.false_alarms is None
            else whole.false_alarms * (1 + len(self._parts)),
        )  # fmt: skip

    def state(self) -> dict[str, Any]:
        """Return the state of the monitor of all rows, with those of the slices beside it."""
        parts = {text: part.state() for text, part in self._parts.items()}
        return {**self._whole.state(), _STATE: parts}

    def restore(self, state: dict[str, Any]) -> list[Finding]:
        """Go on from what `state` returned; slices that it does not have begin anew.

        Raises:
            ValueError, KeyError, TypeError: the state is of a monitor that was set up otherwise.
        """
        saved = state.get(_STATE, {})
        found = list(self._whole.restore({k: v for k, v in state.items() if k != _STATE}))
        for text, part in self._parts.items():
            if text in saved:
                found += _of(text, part.restore(saved[text]))
        return found


class _Learns(_Sliced):
    """One whose monitors take their reference from the first rows."""

    @property
    def ready(self) -> bool:
        """Whether the reference of all rows is there."""
        ready: bool = self._whole.ready
        return ready

    @property
    def progress(self) -> str:
        """What the reference of all rows is."""
        progress: str = self._whole.progress
        return progress

    def reset(self) -> None:
        """Forget all references."""
        self._whole.reset()
        for part in self._parts.values():
            part.reset()


class _Revises(_Sliced):
    """One whose figures follow when a label is replaced."""

    def revise(self, corrections: Corrections, now: float) -> Sequence[Finding]:
        """Count labels that were replaced, in every slice that their rows are in."""
        found = list(self._whole.revise(corrections, now))
        for text, part in self._parts.items():
            inside = _inside(corrections.rows, text)
            if inside.any():
                some = Corrections(
                    rows=corrections.rows.some(inside),
                    labels=corrections.labels[inside],
                    groups={name: each[inside] for name, each in corrections.groups.items()},
                )
                found += _of(text, part.revise(some, now))
        return found


class _JudgesLabelsToo(_Revises):
    """One of predictions of which some findings rest on labelled rows."""

    def of_labels(self, finding: Finding) -> bool:
        """Whether a finding rests on labelled rows."""
        found: bool = self._whole.of_labels(finding)
        return found


def _inside(rows: Rows, text: str) -> np.ndarray:
    """Return which rows are in a slice, bool [n]."""
    name = PREFIX + text
    told = rows.request_groups.get(name) if rows.labels is not None else rows.groups.get(name)
    if told is None:
        return np.zeros(rows.n, np.bool_)
    inside: np.ndarray = np.asarray(told == INSIDE, np.bool_)
    return inside


def _of(text: str, found: Sequence[Finding]) -> list[Finding]:
    return [replace(each, segment=text) for each in found]
