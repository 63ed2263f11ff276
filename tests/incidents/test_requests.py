"""What clients may ask and order; everything else is refused in one sentence."""

from __future__ import annotations

import json

import pytest

from serving.channel.messages.incidents import IncidentOrder, IncidentQuery
from serving.errors import InvalidInput
from serving.incidents.requests import read_action, read_query


@pytest.mark.parametrize(
    ("asked", "query"),
    [
        ([], IncidentQuery()),
        ([("state", "open")], IncidentQuery(("open",))),
        ([("state", "")], IncidentQuery()),
        ([("state", "open,acknowledged"), ("state", "resolved")],
         IncidentQuery(("open", "acknowledged", "resolved"))),
        ([("model", "m"), ("limit", "1000")], IncidentQuery((), "m", 1000)),
    ],
)  # fmt: skip
def test_a_query(asked, query):
    assert read_query(asked) == query


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            [("state", "closed")],
            "'state' is 'closed'; give open, acknowledged, resolved, false_alarm",
        ),
        ([("state", ",")], "'state' is ''"),
        ([("limit", "0")], "a number from 1 to 1000"),
        ([("limit", "-1")], "a number from 1 to 1000"),
        ([("limit", "9" * 50)], "a number from 1 to 1000"),
        ([("limit", "\u0661")], "a number from 1 to 1000"),
        ([("model", "a"), ("model", "b")], "give each once"),
        ([("stat\n", "open")], "'stat\\\\n': there are state, model, limit"),
    ],
)
def test_a_wrong_query(asked, said):
    with pytest.raises(InvalidInput, match=said):
        read_query(asked)


def test_an_action():
    body = json.dumps({"action": "false_alarm", "note": "n", "by": "x"}).encode()
    assert read_action("a", body) == IncidentOrder("a", "false_alarm", "n")
    assert read_action("a", b'{"action": "resolve"}') == IncidentOrder("a", "resolve")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "must be a JSON object"),
        (b"[]", "must be a JSON object"),
        (b'{"action": "\xff"}', "must be a JSON object"),
        (b"[" * 10_000, "must be a JSON object"),
        (b"{}", "action must be one of acknowledge, resolve, false_alarm"),
        (b'{"action": ["resolve"]}', "action must be one of"),
        (b'{"action": "resolve", "note": 5}', "note must be a text"),
        (b'{"action": "resolve", "note": "' + b"x" * 1001 + b'"}', "at most 1000 characters"),
        (b'{"note": "' + b"x" * 300_000 + b'"}', "shorten the note"),
    ],
)
def test_a_wrong_action(body, said):
    with pytest.raises(InvalidInput, match=said):
        read_action("a", body)
