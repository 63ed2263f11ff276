"""Who is told of incidents, as `vigil.yaml` says it; what may be a secret is never shown."""

from __future__ import annotations

import pickle

import pytest

from serving.config import ConfigError, ServerConfig, parse

URL = "https://hooks.example.com/a-secret"


def read(*webhooks):
    return parse(ServerConfig, {"webhooks": list(webhooks)}, "vigil.yaml").webhooks


def test_each_has_a_name():
    found = read(
        {"url": URL}, {"url": URL}, {"url": URL, "name": "generic-2"},
        {"kind": "slack", "url": URL},
    )  # fmt: skip
    assert [each.name for each in found] == ["generic", "generic-3", "generic-2", "slack"]


def test_secrets_are_not_shown_and_survive_pickling():
    hook = {"url": URL, "secret": "s3cret", "token": "t0ken"}
    pager = {"kind": "pagerduty", "routing_key": "k3y"}
    config = ServerConfig.model_validate({"webhooks": [hook, pager]})
    shown = f"{config!r} {config.model_dump(mode='json')} {config.model_dump_json()}"
    assert not any(each in shown for each in ("a-secret", "s3cret", "t0ken", "k3y"))
    again = pickle.loads(pickle.dumps(config)).webhooks
    assert again[0].address == URL
    assert again[0].secret.get_secret_value() == "s3cret"
    assert again[1].address == "https://events.pagerduty.com/v2/enqueue"


@pytest.mark.parametrize(
    ("webhook", "said"),
    [
        ({}, "kind generic needs a url"),
        ({"kind": "alertmanager"}, "kind alertmanager needs a url"),
        ({"url": "ftp://x/a-secret"}, "is no address"),
        ({"url": "https://u:a-secret@x"}, "holds a user or a password"),
        ({"url": URL, "routing_key": "a-secret"}, "routing_key goes with kind pagerduty"),
        ({"kind": "pagerduty"}, "routing_key goes with kind pagerduty"),
        ({"kind": "slack", "url": URL, "secret": "a-secret"}, "secret goes with kind generic"),
        ({"url": URL, "token": "a-secret-ä"}, "token: write printable ASCII only"),
        ({"url": URL, "token": "a-secret\n"}, "token: write printable ASCII only"),
        ({"url": URL, "name": "a b"}, "write up to 64 letters"),
        ({"url": URL, "kind": "irc"}, "kind"),
    ],
)
def test_what_is_wrong_is_said_without_secrets(webhook, said):
    with pytest.raises(ConfigError, match=said) as error:
        read(webhook)
    assert "a-secret" not in error.value.message


def test_names_are_told_apart():
    with pytest.raises(ConfigError, match="two have the same name"):
        read({"url": URL, "name": "a"}, {"url": URL, "name": "a"})
