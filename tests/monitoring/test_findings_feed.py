"""When the control plane is told of findings."""

from __future__ import annotations

from dataclasses import replace

import pytest

from monitors.finding import Finding
from serving.channel.messages.findings import Unjudged
from serving.monitoring.finding_records import record
from serving.monitoring.findings_feed import FindingsFeed

FOUND = Finding(
    monitor="drift",
    metric="psi",
    subject="income",
    value=float("nan"),
    threshold=0.05,
    direction="above",
    n_reference=1000,
    n_current=200,
    window=(900.0, 1000.0),
)


def test_the_hub_is_told_once_of_what_stays_the_same() -> None:
    feed = FindingsFeed()
    first = feed.changed([record(FOUND, 1000.0, "m")])
    assert first is not None
    assert [each.model for each in first.findings] == ["m"]
    for now in (1001.0, 5000.0):
        assert feed.changed([record(FOUND, now, "m")]) is None


def test_that_there_are_none_is_told_too() -> None:
    feed = FindingsFeed()
    first = feed.changed([])
    assert first is not None
    assert first.findings == ()
    assert feed.changed([]) is None
    assert feed.changed([record(FOUND, 1000.0)]) is not None
    again = feed.changed([])
    assert again is not None
    assert again.findings == ()


@pytest.mark.parametrize(
    "changed",
    [
        replace(FOUND, value=0.2),
        replace(FOUND, breached=True),
        replace(FOUND, reason="stale"),
        replace(FOUND, window=(1000.0, 1100.0)),
        replace(FOUND, subject="debt"),
    ],
)
def test_any_change_is_told_with_its_age(changed: Finding) -> None:
    feed = FindingsFeed()
    feed.changed([record(FOUND, 1200.0)])
    told = feed.changed([record(changed, 1201.5)])
    assert told is not None
    assert told.findings == (record(changed, 1201.5),)


def test_another_hub_is_told_everything() -> None:
    feed = FindingsFeed()
    feed.changed([record(FOUND, 1000.0)])
    feed.forget()
    assert feed.changed([record(FOUND, 1000.0)]) is not None


def test_breaches_that_have_passed_are_told_although_the_latest_are_the_same() -> None:
    feed = FindingsFeed()
    feed.changed([record(FOUND, 1000.0)])
    passed = record(replace(FOUND, value=0.9, breached=True), 1000.0, "m")
    told = feed.changed([record(FOUND, 1001.0)], [passed])
    assert told is not None
    assert told.passed == (passed,)
    assert feed.changed([record(FOUND, 1002.0)]) is None


def test_that_something_is_not_judged_is_told_once() -> None:
    feed = FindingsFeed()
    blind = Unjudged("m", "1", "drift", "blind", "no profile")
    told = feed.changed([], (), [blind])
    assert told is not None
    assert told.unjudged == (blind,)
    assert feed.changed([], (), [blind]) is None
    assert feed.changed([]) is not None
