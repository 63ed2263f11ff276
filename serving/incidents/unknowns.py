"""Verdicts that are not known: a state that is shown, and after a while a ticket.

A model whose monitor is silent looks as well as one that is fine. So silence counts: no rows, no
labels, a monitor that cannot run, a process that is away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from serving.channel.messages.findings import FindingRecord, Unjudged
from serving.channel.messages.incidents import Evidence, Measured, Unknown
from serving.incidents import sentences
from serving.incidents.book import Book
from serving.incidents.causes import Key
from serving.incidents.deployments import Deployments
from serving.store.records import Kind, WatchState

AWAY_S: Final = 300.0
"""A monitor that is away for so long is a ticket: it should have been started again long since."""
VERDICT: Final = "verdict"
"""The metric of incidents about what is not known."""
_SUFFIX: Final = "/unknown"

Changed = Callable[[tuple[str, str], WatchState | None], None]


class Unknowns:
    """Since when each verdict is known, or not.

    Args:
        book: where tickets are opened and closed.
        deployments: what is served, and after how long its silence is a ticket.
        changed: called with each state that is another one than before.
        clock: seconds since the epoch.
    """

    def __init__(
        self, book: Book, deployments: Deployments, changed: Changed, clock: Callable[[], float]
    ) -> None:
        self._book = book
        self._deployments = deployments
        self._changed = changed
        self._clock = clock
        self._states: dict[Key, WatchState] = {}

    def restore(self, states: Iterable[WatchState]) -> None:
        """Take in what was so before the start; monitors that were away get time to start."""
        for each in states:
            key = Key(each.model, each.cause)
            if each.kind == "away":
                self._changed(key, None)
            else:
                self._states.setdefault(key, each)

    def told(
        self, groups: Mapping[Key, Sequence[FindingRecord]], unjudged: Iterable[Unjudged]
    ) -> None:
        """Take in what a monitor knows of its models now.

        Args:
            groups: its findings, by model and cause.
            unjudged: what it should judge, and has no findings of.
        """
        found = {Key(key.model, _monitor(key)) for key in groups}
        # Of two versions one may have findings already; what cannot run for the other counts.
        missing = {
            key: each
            for each in unjudged
            if (key := Key(each.model, each.monitor)) not in found or each.kind == "blind"
        }
        for key, findings in groups.items():
            if Key(key.model, _monitor(key)) in missing:
                continue
            if any(each.breached is not None for each in findings):
                self._is(key, "known", "", judged=True)
            else:
                self._is(key, "unknown", findings[0].reason, judged=True)
        for key, each in missing.items():
            self._is(key, each.kind, each.why, judged=self._was_judged(key))
        models = {key.model for key in (*groups, *missing)}
        gone = "by itself: it is judged no more"
        for key in [key for key in self._states if key.model in models]:
            if key not in groups and key not in missing:
                self._drop(key, gone)
        for incident in list(self._book.active()):
            key = Key(*incident.key)
            if incident.metric == VERDICT or key.model not in models or key in groups:
                continue
            if Key(key.model, _monitor(key)) not in missing:  # else it may be judged again
                self._book.close(incident, gone)

    def _was_judged(self, key: Key) -> bool:
        return any(
            each.judged
            for other, each in self._states.items()
            if other.model == key.model and _monitor(other) == key.cause
        )

    def away(self, monitors: Mapping[str, str]) -> None:
        """Take in which monitors are not there.

        Args:
            monitors: by name, why, in a few words.
        """
        for name, why in monitors.items():
            self._is(Key("", name), "away", why)
        back = "by itself: it is there again"
        for key in [key for key in self._states if not key.model and key.cause not in monitors]:
            self._drop(key, back)
        for incident in [each for each in self._book.active() if not each.model]:
            if incident.monitor not in monitors:  # it was away before the start, too
                self._book.close(incident, back)

    def _is(self, key: Key, kind: Kind, why: str, *, judged: bool = False) -> None:
        before = self._states.get(key)
        judged = judged or (before is not None and before.judged)
        if before is not None and before.kind == kind:
            if (before.why, before.judged) != (why, judged):
                self._states[key] = replace(before, why=why, judged=judged)
            if before.judged != judged:  # a reason alone is not worth a write
                self._changed(key, self._states[key])
            return
        # Another kind of silence is the same silence, unless it was a wait for a first window.
        since = self._clock()
        if before is not None and kind != "known" and self._ticket_at(before) is not None:
            since = before.since
        state = WatchState(
            model=key.model, cause=key.cause, kind=kind, since=since, why=why, judged=judged,
        )  # fmt: skip
        self._states[key] = state
        self._changed(key, state)
        if kind == "known":
            self._over(key, "by itself: there is a verdict again")

    def _drop(self, key: Key, note: str) -> None:
        del self._states[key]
        self._changed(key, None)
        self._over(key, note)

    def _over(self, key: Key, note: str) -> None:
        incident = self._book.at(_ticket(key))
        if incident is not None:
            self._book.close(incident, note)

    def tick(self) -> None:
        """Open tickets for what has been unknown for long enough; forget what nobody serves."""
        now = self._clock()
        for key, state in list(self._states.items()):
            if key.model and key.model not in self._deployments.models:
                self._drop(key, "by itself: the model is not served any more")
                continue
            at = self._ticket_at(state)
            if at is not None and now >= at and self._book.at(_ticket(key)) is None:
                self._open(key, state, now)

    def _open(self, key: Key, state: WatchState, now: float) -> None:
        leading = Measured(metric=VERDICT)
        evidence = Evidence(leading=leading, since=state.since, reason=state.why)
        said = (
            sentences.unknown_summary(*key, state.kind, state.why, now - state.since),
            sentences.unknown_advice(key.model, state.kind),
        )
        self._book.open_once(_ticket(key), key.cause, evidence, said)

    def _ticket_at(self, state: WatchState) -> float | None:
        """Return when a state becomes a ticket; None: it does not.

        What never had a verdict waits for its first window, and a model may hardly be asked.
        """
        if state.kind == "away":
            return state.since + AWAY_S
        if state.kind == "known" or (state.kind == "waiting" and not state.judged):
            return None
        return state.since + self._deployments.rules(state.model).unknown_after_s

    def kept(self) -> dict[tuple[str, str], WatchState | None]:
        """Return all that is known."""
        return {(key.model, key.cause): state for key, state in self._states.items()}

    def listed(self) -> list[Unknown]:
        """Return what is not known now, in the order of names."""
        return [
            Unknown(
                model=state.model,
                cause=state.cause,
                kind=state.kind,
                since=state.since,
                why=state.why,
                ticket_at=self._ticket_at(state),
            )
            for _, state in sorted(self._states.items())
            if state.kind != "known"
        ]


def _ticket(key: Key) -> Key:
    return Key(key.model, key.cause + _SUFFIX)


def _monitor(key: Key) -> str:
    return key.cause.partition("/")[0]
