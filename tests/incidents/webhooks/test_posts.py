"""What each kind of receiver is posted."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest
from msgspec.structs import replace

from serving.channel.messages.causes import Cause
from serving.incidents.webhooks.posts import ALIVE_S, alerts_post, post_of

NOW = 1_700_000_120.0


def content(webhook, delivery):
    return json.loads(post_of(webhook, delivery, NOW).body)


def test_ours_is_the_whole_incident_and_signed(webhook, delivery):
    post = post_of(webhook(secret="s", token="t"), delivery(), NOW)
    told = json.loads(post.body)
    assert (told["id"], told["event"], told["incident"]["id"]) == ("d", "opened", "k7m2p9qd")
    assert post.url == "http://127.0.0.1:1/hook"
    assert post.headers["authorization"] == "Bearer t"
    digest = hmac.new(b"s", post.body, hashlib.sha256).hexdigest()
    assert post.headers["x-vigil-signature"] == f"sha256={digest}"


def test_slack_is_told_what_since_how_bad_and_what_to_do(webhook, delivery):
    lines = content(webhook("slack"), delivery())["text"].splitlines()
    assert lines == [
        ":warning: *opened* [ticket] drift of 'a&lt;b&gt;&amp;c'",
        "Since 2023-11-14 22:13 UTC (2 min)",
        "500 rows",
        "To do: look",
        "`vigil incidents k7m2p9qd`",
    ]


@pytest.mark.parametrize("event", ["resolved", "false_alarm"])
def test_slack_is_told_the_end(webhook, delivery, event):
    lines = content(webhook("slack"), delivery(event, state=event))["text"].splitlines()
    assert lines[0].startswith(":white_check_mark: *" + event.replace("_", " "))
    assert "To do" not in "".join(lines)


@pytest.mark.parametrize(
    ("event", "action"),
    [("opened", "trigger"), ("escalated", "trigger"), ("reopened", "trigger"),
     ("acknowledged", "acknowledge"), ("resolved", "resolve"), ("false_alarm", "resolve")],
)  # fmt: skip
def test_pagerduty_follows_an_incident(webhook, delivery, event, action):
    post = post_of(webhook("pagerduty", url=None), delivery(event, severity="page"), NOW)
    told = json.loads(post.body)
    assert post.url == "https://events.pagerduty.com/v2/enqueue"
    assert (told["event_action"], told["dedup_key"]) == (action, "vigil-k7m2p9qd")
    assert told["routing_key"] == "a-routing-key"
    assert ("payload" in told) == (action == "trigger")
    if action == "trigger":
        assert told["payload"]["severity"] == "critical"
        assert told["payload"]["summary"] == "drift of 'a<b>&c'"
        assert told["payload"]["timestamp"] == "2023-11-14T22:14:20.000+00:00"


def test_pagerduty_takes_summaries_of_bounded_length(webhook, delivery):
    told = content(webhook("pagerduty"), delivery(summary="x" * 5000))
    assert len(told["payload"]["summary"]) == 1024


def test_alertmanager_is_told_how_long_to_believe_it(webhook, delivery):
    receiver = webhook("alertmanager", url="http://127.0.0.1:1/prefix/")
    post = post_of(receiver, delivery(), NOW)
    [alert] = json.loads(post.body)
    assert post.url == "http://127.0.0.1:1/prefix/api/v2/alerts"
    assert alert["labels"]["severity"] == "ticket"
    assert alert["startsAt"] == "2023-11-14T22:14:20.000+00:00"
    assert alert["endsAt"] == "2023-11-14T22:19:20.000+00:00"
    assert ALIVE_S == 240
    [over] = content(receiver, delivery("resolved", state="resolved", closed_at=NOW - 1))
    assert over["labels"] == alert["labels"]
    assert over["endsAt"] == "2023-11-14T22:15:19.000+00:00"


def test_alertmanager_ends_the_alert_of_a_lower_severity(webhook, delivery):
    alerts = content(webhook("alertmanager"), delivery("escalated", severity="page"))
    ends = {alert["labels"]["severity"]: alert["endsAt"] for alert in alerts}
    assert ends.keys() == {"page", "ticket", "info"}
    assert ends["ticket"] < ends["page"]


def test_alertmanager_is_reminded_of_all(webhook, incident):
    post = alerts_post(webhook("alertmanager"), [incident(), incident(id="b")], NOW)
    assert [alert["labels"]["incident"] for alert in json.loads(post.body)] == ["k7m2p9qd", "b"]


KNOWN = Cause(summary="concept shift: <other> truths", known=True)


@pytest.mark.parametrize(("cause", "told"), [
    (None, False), (KNOWN, True), (Cause(summary="the cause is not known: no labels"), False),
])  # fmt: skip
def test_the_cause_is_told_where_it_is_known(webhook, delivery, cause, told):
    evidence = replace(delivery().incident.evidence, cause=cause)
    one = delivery("explained", evidence=evidence, severity="page")
    slack = content(webhook("slack"), one)["text"]
    assert ("Why: concept shift: &lt;other&gt; truths" in slack) == told
    details = content(webhook("pagerduty", url=None), one)["payload"]["custom_details"]
    assert details.get("why") == (KNOWN.summary if told else None)
    [alert] = content(webhook("alertmanager"), one)
    assert alert["annotations"].get("why") == (KNOWN.summary if told else None)
    ours = content(webhook(), one)["incident"]["evidence"]["cause"]
    assert (ours is None) == (cause is None)
