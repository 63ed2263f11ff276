"""The extension point of this package: what a monitor is, and what it says it needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from monitors.finding import Finding
from monitors.rows import Corrections, Rows
from monitors.watched import Watched


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """Which rows a monitor is shown, and what has to be in them.

    A monitor that needs labels is shown rows whose truth became known; any other one predictions.
    One that needs groups is shown both, because some learn their groups with the label; so is one
    that compares what it has said of predictions with their truths.

    Attributes:
        columns: the watched columns of the inputs.
        outputs: the model's outputs.
        predicted: what labels are compared with, the predicted class of a classifier.
        labels: what is true.
        scores: those of the classes, where rows have some.
        groups: names of sensitive attributes.
        truths: rows whose truth became known, beside predictions.
        guards: what became of rows in guards, and nothing else: such a monitor is shown rows that
            were rejected, too.
    """

    columns: bool = False
    outputs: bool = False
    predicted: bool = False
    labels: bool = False
    scores: bool = False
    groups: tuple[str, ...] = ()
    truths: bool = False
    guards: bool = False

    @property
    def takes_predictions(self) -> bool:
        """Whether it is shown predictions."""
        return not (self.labels or self.guards)

    @property
    def takes_labelled(self) -> bool:
        """Whether it is shown rows whose truth became known."""
        return self.labels or self.truths or bool(self.groups)


class Monitor(Protocol):
    """A windowed judge of one model version. Not thread-safe; owned by one monitor role.

    Windows are cut by the rows' own timestamps, so that the same rows give the same findings
    whenever they are shown; `now` is for what is judged by the clock.
    """

    @property
    def needs(self) -> Needs:
        """Which rows it is shown, and what has to be in them; always the same."""

    def update(self, rows: Rows, now: float) -> Sequence[Finding]:
        """Take in a batch; returns the findings of the windows that it closed, oldest first.

        Args:
            rows: what `needs` names is in it; nothing in it may be written to.
            now: seconds since the epoch.
        """

    def tick(self, now: float) -> Sequence[Finding]:
        """Return the findings of windows that ended with the time, with or without rows.

        Called about once a second, also while there are no rows.
        """

    @property
    def filled(self) -> tuple[int, int]:
        """Rows in the current window, and how many complete it."""

    def state(self) -> dict[str, Any]:
        """Return what is needed to go on after a restart, as JSON-serialisable values."""

    def restore(self, state: dict[str, Any]) -> Sequence[Finding]:
        """Go on from what `state` returned; returns the last findings, if they still stand.

        Raises:
            ValueError, KeyError, TypeError: the state is of a monitor that was set up otherwise;
                then nothing was taken from it.
        """


@runtime_checkable
class LearnsReference(Protocol):
    """A monitor that takes its reference from the first rows, and can begin anew."""

    @property
    def ready(self) -> bool:
        """Whether the reference is there."""

    @property
    def progress(self) -> str:
        """What the reference is, or how far it is collected, in a few words."""

    def reset(self) -> None:
        """Forget the reference and what was found with it; collect a new one."""


@runtime_checkable
class RevisesLabels(Protocol):
    """A monitor whose figures follow when a label is replaced by another one."""

    def revise(self, corrections: Corrections, now: float) -> Sequence[Finding]:
        """Count labels that were replaced; returns the latest window's findings if they changed.

        The current window is as if the new labels alone had come. The latest window that was
        judged is judged again, and its findings say so (`Finding.revised`). Older windows stay as
        they were judged.
        """


@runtime_checkable
class JudgesLabelsToo(Protocol):
    """A monitor of predictions of which some findings rest on labelled rows alone."""

    def of_labels(self, finding: Finding) -> bool:
        """Whether a finding rests on labelled rows."""


@runtime_checkable
class SaysWhatItWatches(Protocol):
    """A monitor that can say what it watches, how strictly, and what it can see."""

    def watched(self, now: float) -> Watched:
        """Return what it watches, as far as is known at present.

        Args:
            now: seconds since the epoch.
        """
