"""`vigil incidents`: what a tired person reads."""

from __future__ import annotations

import json
import time

import pytest

from serving.cli.console import OUT
from serving.cli.incidents import incidents
from serving.errors import InvalidInput

NOW = 1_700_000_000.0
EVIDENCE = {
    "leading": {"metric": "accuracy", "value": 0.61, "threshold": 0.9, "direction": "below",
                "ci": [0.54, 0.68], "n_current": 200, "n_reference": 1000},
    "since": NOW - 3000,
    "breached": 12,
    "top": [{"metric": "psi", "subject": "age\x1b[2J", "value": 0.4, "threshold": 0.1}] * 10,
    "deployment": {"version": "3", "at": NOW - 4000},
}  # fmt: skip
INCIDENT = {
    "id": "k7m2p9qd", "model": "loans", "version": "3", "cause": "performance",
    "monitor": "performance", "metric": "accuracy", "severity": "ticket", "demoted_from": "page",
    "state": "open", "opened_at": NOW - 2400, "updated_at": NOW - 60, "quiet_windows": 2,
    "summary": "performance of model 'loans' version 3: accuracy is 0.61, below 0.9",
    "advice": "go back", "first": EVIDENCE, "evidence": EVIDENCE,
    "history": [{"at": NOW - 2400, "what": "opened", "note": ""},
                {"at": NOW - 2000, "what": "acknowledged", "note": "on [it]"}],
}  # fmt: skip
OVER = {**INCIDENT, "id": "b", "state": "false_alarm", "closed_at": NOW - 600}
TIMES = (
    "    since 2023-11-14 21:23 UTC, for 50 min; breached last 60 s ago, 2 quiet windows since then"
)
BELIEVED_LESS = (
    "believed less: drift psi of model 'm' is one severity lower, because 3 of its last 4 "
    "incidents were false alarms (its budget is 25%)"
)


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setattr(OUT, "width", 200)
    monkeypatch.setattr(time, "time", lambda: NOW)


def listing(*found, **more):
    told = {"incidents": found, "unknown": [], "demoted": [], "notes": [], **more}
    return 200, json.dumps(told).encode()


def run(instance, answers, ident="", **options):
    made = instance(answers)
    incidents(url=made.url, as_json=False, ident=ident, **options)
    return made


def test_first_what_then_since_how_bad_and_what_to_do(instance, capsys):
    run(instance, {"/v2/incidents/k7m2p9qd": (200, json.dumps(INCIDENT).encode())}, "k7m2p9qd")
    lines = capsys.readouterr().out.splitlines()
    assert lines[:6] == [
        "performance of model 'loans' version 3: accuracy is 0.61, below 0.9",
        "since:   2023-11-14 21:23 UTC (50 min ago)",
        "how bad: ticket, open; it would be a page, if its rule had raised fewer false alarms",
        "to do:   go back",
        "then:    vigil incidents k7m2p9qd acknowledge|resolve|false-alarm",
        "rests on interval 0.54 to 0.68, 200 rows; reference 1000 rows",
    ]
    assert lines[6] == "  - psi of 'age\\x1b[2J' is 0.4, above 0.1"
    assert "  and 2 more" in lines
    assert "last deployment before it: version 3, 2023-11-14 21:06 UTC" in lines
    assert lines[-1] == "  2023-11-14 21:40 UTC  acknowledged: on [it]"


def test_all_are_listed_with_what_is_unknown(instance, capsys):
    unknown = {"model": "m", "cause": "drift", "kind": "blind", "since": NOW - 7200,
               "why": "no profile", "ticket_at": NOW + 3600}  # fmt: skip
    away = {**unknown, "model": "", "cause": "monitor", "ticket_at": None, "why": "is away"}
    rule = {"model": "m", "monitor": "drift", "metric": "psi", "steps": 1, "false_alarms": 3,
            "incidents": 4, "budget": 0.25}  # fmt: skip
    more = {"unknown": [unknown, away], "demoted": [rule], "notes": ["the store is away"]}
    run(instance, {"/v2/incidents": listing(INCIDENT, OVER, **more)})
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"k7m2p9qd  TICKET  open: {INCIDENT['summary']}",
        TIMES,
        "    to do: go back",
        f"b  TICKET  false alarm: {INCIDENT['summary']}",
        "    since 2023-11-14 21:23 UTC, over 10 min ago",
        "unknown: drift of model 'm' for 2 h: no profile; a ticket in 60 min",
        "unknown: monitor for 2 h: is away",
        BELIEVED_LESS,
        "the store is away",
    ]


def test_that_none_is_open_is_said(instance, capsys):
    path = "/v2/incidents?state=open%2Cacknowledged&model=m"
    run(instance, {path: listing()}, only_open=True, model="m")
    assert capsys.readouterr().out == "no incident is open\n"


@pytest.mark.parametrize(
    ("action", "sent"),
    [("acknowledge", "acknowledge"), ("resolve", "resolve"), ("false-alarm", "false_alarm")],
)
def test_one_is_handled(instance, capsys, action, sent):
    answers = {"/v2/incidents/b": (200, json.dumps(OVER).encode())}
    made = run(instance, answers, "b", action=action, note="why")
    method, path, _, body = made.asked[0]
    assert (method, path) == ("POST", "/v2/incidents/b")
    assert json.loads(body) == {"action": sent, "note": "why"}
    assert "to do" not in capsys.readouterr().out


def test_json_is_the_answer_as_it_came(instance, capsys):
    made = instance({"/v2/incidents": listing(INCIDENT)})
    incidents(url=made.url, as_json=True)
    assert json.loads(capsys.readouterr().out)["incidents"][0]["id"] == "k7m2p9qd"


@pytest.mark.parametrize(
    ("options", "said"),
    [({"action": "close"}, "'close' is no action"), ({"note": "n"}, "goes with an action")],
)
def test_wrong_use(options, said):
    with pytest.raises(InvalidInput, match=said):
        incidents(url="http://127.0.0.1:1", as_json=False, ident="a", **options)


CAUSE = {"summary": "concept shift: rows like those of before have other truths", "known": True}


def test_why_it_is_so_is_told_once_it_is_known(instance, capsys):
    known = {**INCIDENT, "evidence": {**EVIDENCE, "cause": CAUSE}}
    run(instance, {"/v2/incidents": listing(known, INCIDENT)})
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "why" in line] == [f"    why: {CAUSE['summary']}"]
    assert lines.index(f"    why: {CAUSE['summary']}") < lines.index("    to do: go back")
    run(instance, {"/v2/incidents/k7m2p9qd": (200, json.dumps(known).encode())}, "k7m2p9qd")
    assert f"why:     {CAUSE['summary']}" in capsys.readouterr().out.splitlines()
