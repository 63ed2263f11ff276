import json
import math
from dataclasses import replace

import msgspec
import pytest

from monitors.finding import Finding
from serving.monitoring.finding_records import record, stale

FOUND = Finding(
    monitor="drift",
    metric="psi",
    subject="income",
    value=0.7,
    threshold=0.05,
    direction="above",
    breached=True,
    n_reference=1000,
    n_current=200,
    window=(900.0, 1000.0),
    p_value=1e-9,
    ci=None,
)


def test_window_and_age_are_told():
    found = record(replace(FOUND, version="3"), 1060.5)
    assert (found.version, found.window, found.age_s) == ("3", (900.0, 1000.0), 60.5)
    assert record(FOUND, 990.0).age_s == 0  # clocks of two machines differ


def test_what_is_unknown_is_null_and_not_zero():
    unknown = replace(
        FOUND, value=math.nan, threshold=None, breached=None, p_value=None, reason="why"
    )
    found = json.loads(msgspec.json.encode(record(unknown, 1000)))
    names = ("value", "threshold", "breached", "p_value", "reason")
    assert [found[name] for name in names] == [None, None, None, None, "why"]


@pytest.mark.parametrize(
    ("idle_s", "words"),
    [(30, "30 seconds"), (7 * 60, "7 minutes"), (5 * 3600, "5 hours"), (3 * 86400, "3 days")],
)
def test_a_stale_finding_tells_what_it_was(idle_s, words):
    found = stale(FOUND, idle_s)
    assert (found.breached, found.value) == (None, 0.7)
    assert found.reason == f"stale: no rows for {words}; breached before that"
    assert "fine before" in stale(replace(FOUND, breached=False), idle_s).reason
    assert stale(FOUND, idle_s, "labels").reason.startswith(f"stale: no labels for {words};")


def test_what_was_unknown_keeps_its_reason():
    unknown = replace(FOUND, breached=None, reason="no threshold set")
    assert stale(unknown, 1e6) is unknown


def test_it_says_what_a_breach_is_worth_and_what_it_is_about():
    found = record(replace(FOUND, severity="ticket", segment="age > 60", window_id="3@900"), 1000)
    assert (found.severity, found.segment, found.window_id) == (
        "ticket",
        "age > 60",
        "3@900",
    )


def test_evidence_is_told_and_left_out_where_there_is_none():
    found = replace(FOUND, since=950.0, detail={"moved": "tail", "reference": [3, 4]})
    told = json.loads(msgspec.json.encode(record(found, 1000)))
    assert (told["since"], told["detail"]) == (950.0, {"moved": "tail", "reference": [3, 4]})
    assert not {"since", "detail"} & json.loads(msgspec.json.encode(record(FOUND, 1000))).keys()
