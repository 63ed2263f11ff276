"""Findings as they count now: those of a monitor that is silent or gone are unknown."""

from __future__ import annotations

import pytest

from serving.channel.messages.findings import FindingRecord, FindingsChanged
from serving.control.latest_findings import LatestFindings
from serving.control.members import STALE_S


def found(metric: str, *, breached: bool | None, model: str = "m") -> FindingRecord:
    return FindingRecord(
        model=model,
        version="1",
        monitor="drift",
        metric=metric,
        subject="",
        value=0.4,
        threshold=0.05,
        direction="above",
        breached=breached,
        reason="" if breached is not None else "no threshold set",
        n_reference=100,
        n_current=10,
        window=(0.0, 1.0),
        age_s=5.0,
        p_value=None,
        ci=None,
        severity="info",
        segment="",
        window_id="",
    )


TOLD = FindingsChanged(
    (found("psi", breached=True), found("shift", breached=False), found("rows", breached=None))
)


class Clock:
    """Seconds that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def latest(clock: Clock) -> LatestFindings:
    made = LatestFindings(clock)
    made.told("monitor", TOLD)
    return made


def verdicts(latest: LatestFindings) -> list[tuple[bool | None, str]]:
    return [(each.breached, each.reason) for each in latest.current({"m"})]


def test_what_a_monitor_said_long_ago_counts_while_it_reports(
    latest: LatestFindings, clock: Clock
) -> None:
    for clock.now in (5.0, 14.0, 23.0):
        latest.heard("monitor")
    clock.now = 30.0
    assert verdicts(latest) == [(True, ""), (False, ""), (None, "no threshold set")]
    assert {each.age_s for each in latest.current({"m"})} == {35.0}


def test_of_a_silent_monitor_no_verdict_is_known(latest: LatestFindings, clock: Clock) -> None:
    clock.now = STALE_S + 5
    said = "the monitor has not reported for 15 s"
    unknown = [
        (None, f"{said}; breached before that"),
        (None, f"{said}; fine before that"),
        (None, "no threshold set"),
    ]
    assert verdicts(latest) == unknown
    assert {each.value for each in latest.current({"m"})} == {0.4}
    latest.heard("monitor")
    assert verdicts(latest)[0] == (True, "")


def test_of_one_that_is_gone_neither_until_its_successor_has_told(
    latest: LatestFindings, clock: Clock
) -> None:
    latest.left("monitor")
    gone = [
        (None, "the monitor is gone; breached before that"),
        (None, "the monitor is gone; fine before that"),
        (None, "no threshold set"),
    ]
    assert verdicts(latest) == gone
    latest.heard("monitor")  # it is there again, and has told nothing yet
    assert verdicts(latest) == gone
    latest.told("monitor", FindingsChanged((found("psi", breached=False),)))
    assert verdicts(latest) == [(False, "")]


def test_one_that_is_gone_keeps_nothing_of_models_that_are_not_served(
    latest: LatestFindings,
) -> None:
    latest.told("monitor", FindingsChanged((found("psi", breached=True, model="old"),)))
    assert [each.model for each in latest.current({"m"})] == ["old"]  # the monitor knows better
    latest.left("monitor")
    assert latest.current({"m"}) == []


def test_of_several_only_the_models_of_the_silent_one_are_unknown(clock: Clock) -> None:
    latest = LatestFindings(clock)
    for at, model in enumerate(("m", "n")):
        told = FindingsChanged((found("psi", breached=False, model=model),))
        latest.told(f"monitor-{at}", told)

    def known() -> dict[str, tuple[bool | None, str]]:
        return {each.model: (each.breached, each.reason) for each in latest.current({"m", "n"})}

    latest.left("monitor-1")
    gone = (None, "monitor-1 is gone; fine before that")
    assert known() == {"m": (False, ""), "n": gone}
    latest.told("monitor-0", FindingsChanged((found("psi", breached=True, model="m"),)))
    assert known() == {"m": (True, ""), "n": gone}
    clock.now = STALE_S
    latest.told("monitor-1", FindingsChanged((found("psi", breached=False, model="n"),)))
    silent = (None, f"monitor-0 has not reported for {STALE_S:.0f} s; breached before that")
    assert known() == {"m": silent, "n": (False, "")}


def test_monitors_that_are_there_keep_to_their_own(latest: LatestFindings) -> None:
    latest.told("another", FindingsChanged((found("psi", breached=False, model="n"),)))
    assert [each.model for each in latest.current({"m", "n"})] == ["m", "m", "m", "n"]
    latest.left("stranger")
    latest.heard("stranger")
