"""Which models nobody judges now, because their monitor is not there or does not report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from serving.channel.messages.directory import Directory
from serving.channel.monitor_shares import called, monitor_ids, share_of
from serving.control.members import MemberState

NO_MONITOR: Final = "no monitor is there, so nothing is judged"
MOST_NAMED: Final = 8
"""Models that a sentence names; the others it counts."""


def unjudged(directory: Directory, states: Iterable[MemberState]) -> list[str]:
    """Return one sentence for each monitor whose models are not judged now; none where all are.

    Args:
        directory: what is served, and among how many monitors it is divided.
        states: every member.
    """
    there = {state.member.id: state for state in states if state.member.role == "monitor"}
    if not directory.models:
        return []
    if all(state.status is None for state in there.values()):
        return [NO_MONITOR]
    return [why for why, _ in monitors_away(directory, there.values()).values()]


def monitors_away(
    directory: Directory, states: Iterable[MemberState]
) -> dict[str, tuple[str, list[str]]]:
    """Return the monitors that should judge and do not: why, and the models of each."""
    there = {state.member.id: state for state in states if state.member.role == "monitor"}
    found = {}
    for ident in monitor_ids(directory.monitors):
        state = there.get(ident)
        share = share_of(ident, directory.models, directory.monitors)
        names = list(dict.fromkeys(served.name for served in share))
        if not names or (state is not None and not state.silent):
            continue
        if state is None:
            why = "is not there"
        elif state.age_s is None:
            why = "has not reported yet"
        else:
            why = f"has not reported for {state.age_s:.0f} s"
        found[ident] = (f"{called(ident)} {why}, so nobody judges {_named(names)}", names)
    return found


def _named(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMED
    listed = ", ".join(f"'{name}'" for name in names[:MOST_NAMED])
    return f"model{'s' if len(names) > 1 else ''} {listed}" + (f" and {more} more" * (more > 0))
