"""What is posted to a receiver, in the words that it understands: one function a kind."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec
from msgspec.structs import replace

from serving.channel.messages.incidents import SEVERITIES, Incident, Severity
from serving.config import Webhook
from serving.incidents import sentences
from serving.store.records import Delivery

ALIVE_S: Final = 240.0
"""How long Alertmanager believes in an alert without hearing of it again, as Prometheus does it:
four times the pause between two messages."""

_OVER: Final = frozenset({"resolved", "false_alarm"})
_MARKS: Final[dict[Severity, str]] = {
    "page": ":rotating_light:", "ticket": ":warning:", "info": ":information_source:",
}  # fmt: skip
_PAGERDUTY_SEVERITY: Final[dict[Severity, str]] = {
    "page": "critical", "ticket": "warning", "info": "info",
}  # fmt: skip
_LONGEST: Final = 1024
"""What PagerDuty takes as a summary."""


class Post(NamedTuple):
    """One HTTP request; its URL may be a secret."""

    url: str
    body: bytes
    headers: dict[str, str]


def post_of(webhook: Webhook, delivery: Delivery, now: float) -> Post:
    """Return the request that tells a receiver what has happened."""
    content = _CONTENTS[webhook.kind](webhook, delivery, now)
    return _post(webhook, content)


def alerts_post(webhook: Webhook, incidents: list[Incident], now: float) -> Post:
    """Return the request that tells Alertmanager of all incidents that are not over."""
    alerts = [_alert(each, now, each.state in _OVER) for each in incidents]
    return _post(webhook, alerts)


def _post(webhook: Webhook, content: Any) -> Post:
    body = msgspec.json.encode(content)
    headers = {"content-type": "application/json", "user-agent": "vigil"}
    if webhook.token is not None:
        headers["authorization"] = f"Bearer {webhook.token.get_secret_value()}"
    if webhook.secret is not None:
        key = webhook.secret.get_secret_value().encode()
        digest = hmac.new(key, body, hashlib.sha256).hexdigest()
        headers["x-vigil-signature"] = f"sha256={digest}"
    url = webhook.address
    if webhook.kind == "alertmanager":
        url = url.rstrip("/") + "/api/v2/alerts"
    return Post(url, body, headers)


def _generic(_webhook: Webhook, delivery: Delivery, _now: float) -> Any:
    return {"id": delivery.id, "event": delivery.event, "incident": delivery.incident}


def _slack(_webhook: Webhook, delivery: Delivery, now: float) -> Any:
    incident = delivery.incident
    over = delivery.event in _OVER
    mark = ":white_check_mark:" if over else _MARKS[incident.severity]
    what = f"{mark} *{delivery.event.replace('_', ' ')}* [{incident.severity}]"
    lines = [f"{what} {_plain(incident.summary)}"]
    if over or delivery.event == "acknowledged":
        note = incident.history[-1].note if incident.history else ""
        lines += [_plain(note)] if note else []
    else:
        since = incident.evidence.since
        lines.append(f"Since {sentences.moment(since)} ({sentences.ago(now - since)})")
        if sure := sentences.how_sure(incident.evidence.leading):
            lines.append(_plain(sure))
        if why := _why(incident):
            lines.append(f"Why: {_plain(why)}")
        lines.append(f"To do: {_plain(incident.advice)}")
    lines.append(f"`vigil incidents {incident.id}`")
    return {"text": "\n".join(lines)}


def _pagerduty(webhook: Webhook, delivery: Delivery, _now: float) -> Any:
    assert webhook.routing_key is not None
    incident = delivery.incident
    event = {
        "routing_key": webhook.routing_key.get_secret_value(),
        "dedup_key": f"vigil-{incident.id}",
    }
    if delivery.event in _OVER:
        return {**event, "event_action": "resolve"}
    if delivery.event == "acknowledged":
        return {**event, "event_action": "acknowledge"}
    return {
        **event,
        "event_action": "trigger",
        "client": "Vigil",
        "payload": {
            "summary": incident.summary[:_LONGEST],
            "source": incident.model or "vigil",
            "severity": _PAGERDUTY_SEVERITY[incident.severity],
            "timestamp": _rfc3339(incident.opened_at),
            "component": incident.model,
            "group": incident.monitor,
            "class": incident.metric,
            "custom_details": {
                "incident": incident.id,
                "to do": incident.advice,
                **({"why": why} if (why := _why(incident)) else {}),
                "since": _rfc3339(incident.evidence.since),
                "evidence": sentences.how_sure(incident.evidence.leading),
                "version": incident.version,
            },
        },
    }


def _alertmanager(_webhook: Webhook, delivery: Delivery, now: float) -> Any:
    incident = delivery.incident
    alerts = [_alert(incident, now, delivery.event in _OVER)]
    if delivery.event == "escalated":
        # Receivers are chosen by the severity, so it is a label, and labels tell alerts apart.
        lower = SEVERITIES[: SEVERITIES.index(incident.severity)]
        alerts += [_alert(replace(incident, severity=each), now, True) for each in lower]
    return alerts


def _alert(incident: Incident, now: float, over: bool) -> dict[str, Any]:
    # Labels tell alerts apart, so what changes meanwhile, as the version, is none.
    labels = {
        "alertname": "VigilIncident",
        "model": incident.model,
        "monitor": incident.monitor,
        "cause": incident.cause,
        "incident": incident.id,
        "severity": incident.severity,
    }
    ends_at = (incident.closed_at or now) if over else now + ALIVE_S
    return {
        "labels": labels,
        "annotations": {
            "summary": incident.summary,
            "description": incident.advice,
            **({"why": why} if (why := _why(incident)) else {}),
            "version": incident.version,
        },
        "startsAt": _rfc3339(incident.opened_at),
        "endsAt": _rfc3339(ends_at),
    }


def _why(incident: Incident) -> str:
    """Return what is known of the cause; empty where nothing is."""
    cause = incident.evidence.cause
    return cause.summary if cause is not None and cause.known else ""


def _plain(text: str) -> str:
    """Return a text that Slack shows as it is: model names and columns are anything."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _rfc3339(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


_CONTENTS: Final[Mapping[str, Callable[[Webhook, Delivery, float], Any]]] = {
    "generic": _generic, "slack": _slack, "pagerduty": _pagerduty, "alertmanager": _alertmanager,
}  # fmt: skip
