"""What is watched, as people read it."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from serving.channel.messages.watched import (
    Needed,
    Sight,
    WatchedItem,
    WatchedModel,
    WatchedMonitor,
)
from serving.cli.console import OUT
from serving.cli.monitor_tables import MOST_LINES, show


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OUT, "width", 160)


def item(subject: str, statistic: str, *changes: float | None, **more: Any) -> WatchedItem:
    times = (3600.0, 86400.0, 604800.0)
    given: dict[str, Any] = {
        "metric": "psi", "segment": "", "severity": "info", "threshold": None, "not_judged": "",
        "level": 1e-6, "false_alarms_per_quarter": 0.1, "factor": 1.0, "basis": "14 days known",
        "unit": "sd", "needs": None,
    }  # fmt: skip
    sees = tuple(map(Sight, times, changes)) if changes else ()
    return WatchedItem(subject=subject, statistic=statistic, sees=sees, **(given | more))


def monitor(*items: WatchedItem, **more: Any) -> WatchedMonitor:
    given: dict[str, Any] = {
        "version": "1", "monitor": "drift", "title": "drift", "reference": "500 rows",
        "counts": "rows", "window": 1000, "window_s": 3600.0, "interval_s": 600.0, "filled": 3,
        "false_alarms_per_quarter": 6.0, "streams": len(items), "not_watched": (),
    }  # fmt: skip
    return WatchedMonitor(items=items, **(given | more))


def printed(capsys: pytest.CaptureFixture[str], *monitors: WatchedMonitor, **more: bool) -> str:
    show(WatchedModel("loans", 1.0, monitors, ("drift of x: no profile",)), **more)
    return capsys.readouterr().out


def test_a_column_has_a_line_with_its_worst_statistic_and_all_have_one_each(capsys) -> None:
    made = monitor(item("age", "location", 0.5, 0.2, 0.2), item("age", "spread", 0.9, 0.4, 0.3))
    out = printed(capsys, made)
    assert "age: spread (worst of 2)" in out
    assert "location" not in out
    assert "0.4 sd" in out
    assert "location" in printed(capsys, made, everything=True)


def test_what_is_seen_worst_comes_first_and_the_rest_is_counted(capsys) -> None:
    many = [item(f"c{at}", "location", 1.0, at / 10, 0.1) for at in range(1, MOST_LINES + 4)]
    out = printed(capsys, monitor(*many))
    assert out.index("c11:") < out.index("c10:")
    assert "c1:" not in out
    assert "and 3 more, of which smaller changes are seen: --all" in out


def test_what_is_never_sure_to_be_seen_is_a_dash_and_leads(capsys) -> None:
    out = printed(capsys, monitor(
        item("a", "location", 1.0, 0.5, 0.5), item("b", "share", None, None, 0.01, unit="share")
    ))  # fmt: skip
    assert out.index("b: share") < out.index("a: location")
    row = next(line for line in out.splitlines() if "b: share" in line)
    assert row.count(" - ") == 2
    assert "1 %" in row


def test_before_two_windows_nobody_knows_what_is_seen(capsys) -> None:
    many = [item(f"c{at}", "location", None, None, None) for at in range(MOST_LINES + 1)]
    out = printed(capsys, monitor(*many, interval_s=None))
    assert "how often one ends is not known yet" in out
    assert " ? " in out
    assert "and 1 more: --all" in out


def test_dependence_budget_and_pace_are_told_in_a_sentence(capsys) -> None:
    out = printed(capsys, monitor(item("a", "location", 1.0, 0.5, 0.5, factor=3.1)))
    assert "at most 6 false alarms in 90 days, shared by 1 statistics" in out
    assert "windows vary up to 3.1 times as much as independent rows would" in out
    assert "one ends every 10 min" in out
    assert "known from: 14 days known" in out
    assert "not watched:\n  drift of x: no profile\n" in out


def test_rows_needed_are_told_where_they_are_known(capsys) -> None:
    judged = item(
        "sex", "", 0.3, 0.1, 0.1, metric="equal_opportunity_difference", unit="metric",
        threshold=0.1, severity="ticket", needs=Needed(0.1, 4000.0, 7200.0),
    )  # fmt: skip
    free = replace(judged, metric="accuracy_ratio", not_judged="no threshold set", needs=None)
    out = printed(capsys, monitor(judged, free))
    assert "4000 rows, 2 h for 0.1" in out
    assert "measured without a verdict (no threshold set): accuracy_ratio" in out


def test_exact_checks_need_no_pace(capsys) -> None:
    exact = item("y", "", metric="non_finite_rows", unit="", threshold=0.0, level=None, factor=None)
    runs = replace(exact, metric="constant_rows", threshold=1000.0)
    out = printed(
        capsys, monitor(exact, runs, interval_s=None, window_s=None, false_alarms_per_quarter=None)
    )
    assert "one row" in out
    assert "1000 rows" in out
    assert "not known yet" not in out
