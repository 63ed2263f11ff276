"""Whose models nobody judges is told by the monitor that is away, and of no other."""

from __future__ import annotations

from serving.channel.messages.directory import Directory, Member, ServedModel
from serving.channel.messages.reports import GatewayStatus, MonitorStatus
from serving.channel.monitor_shares import monitor_of
from serving.control.members import STALE_S, MemberState
from serving.control.unjudged import NO_MONITOR, unjudged

NAMES = [f"m{number}" for number in range(20)]
MINE = [name for name in NAMES if monitor_of(name, 2) == "monitor-1"]


def state(ident: str, age_s: float | None = 1.0) -> MemberState:
    status = None if age_s is None else MonitorStatus()
    return MemberState(Member("monitor", ident, 1), True, age_s, 0, status)


def serving(names: list[str], monitors: int = 2) -> Directory:
    versions = [ServedModel(name, version, b"{}", "/m") for name in names for version in "12"]
    return Directory(1, tuple(versions), monitors=monitors)


def test_while_all_are_there_nothing_is_told() -> None:
    both = [state("monitor-0"), state("monitor-1")]
    assert unjudged(serving(NAMES), both) == []
    assert unjudged(serving(NAMES, 1), [state("monitor")]) == []
    assert unjudged(serving([]), []) == []


def test_without_any_nothing_is_judged() -> None:
    gateway = MemberState(Member("gateway", "gateway-0", 1), True, 1.0, 0, GatewayStatus())
    assert unjudged(serving(NAMES), [gateway]) == [NO_MONITOR]
    assert unjudged(serving(NAMES), [state("monitor-0", None)]) == [NO_MONITOR]


def test_the_models_of_the_one_that_is_away_are_named() -> None:
    two = MINE[:2]
    directory = serving([name for name in NAMES if name not in MINE[2:]])
    models = f"models '{two[0]}', '{two[1]}'"
    there = state("monitor-0")
    assert unjudged(directory, [there]) == [f"monitor-1 is not there, so nobody judges {models}"]
    told = unjudged(directory, [there, state("monitor-1", None)])
    assert told == [f"monitor-1 has not reported yet, so nobody judges {models}"]
    told = unjudged(directory, [there, state("monitor-1", STALE_S)])
    assert told == [f"monitor-1 has not reported for {STALE_S:.0f} s, so nobody judges {models}"]
    told = unjudged(serving(MINE[:1], 1), [state("monitor", STALE_S)])
    assert told == [
        f"the monitor has not reported for {STALE_S:.0f} s, so nobody judges model '{MINE[0]}'"
    ]


def test_one_without_models_is_not_missed_and_many_are_counted() -> None:
    others = [name for name in NAMES if name not in MINE]
    assert unjudged(serving(others), [state("monitor-0")]) == []
    many = [name for name in (f"n{at}" for at in range(99)) if monitor_of(name, 2) == "monitor-1"]
    (told,) = unjudged(serving(many), [state("monitor-0")])
    assert told.endswith(f"'{many[7]}' and {len(many) - 8} more")
