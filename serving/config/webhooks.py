"""The section `webhooks` of `vigil.yaml`: who is told of incidents."""

from __future__ import annotations

import re
from typing import Final, Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from serving.config.section import Section

PAGERDUTY: Final = "https://events.pagerduty.com/v2/enqueue"
_URL: Final = re.compile(r"https?://[^/?#@\s]+(/[^\s#]*)?(\?[^\s#]*)?")
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class Webhook(Section):
    """A receiver of incidents. What may be a secret is in no log, metric or answer."""

    kind: Literal["generic", "slack", "pagerduty", "alertmanager"] = Field(
        "generic",
        description="What the receiver understands: our JSON, Slack's messages (Mattermost takes "
        "them too), PagerDuty's Events API v2, or Alertmanager's API v2.",
    )
    name: str = Field(
        "", description="In metrics and notes. Empty: the kind, and a number from the second on."
    )
    url: SecretStr | None = Field(
        None,
        description="Where it is posted; of `alertmanager` its address, such as "
        "http://alertmanager:9093. Only `pagerduty` has a default.",
    )
    min_severity: Literal["info", "ticket", "page"] = Field(
        "ticket", description="Incidents below it are not told."
    )
    models: list[str] = Field([], description="Only incidents of these models; empty: all.")
    routing_key: SecretStr | None = Field(
        None, description="PagerDuty's key of the service's integration."
    )
    token: SecretStr | None = Field(
        None, description="Sent as `Authorization: Bearer`, for proxies that ask for it."
    )
    secret: SecretStr | None = Field(
        None,
        description="Of `generic`: header `x-vigil-signature` is `sha256=` and the body's HMAC in "
        "hex with this key.",
    )
    timeout_s: float = Field(5.0, gt=0, le=60, description="What the receiver may take to answer.")
    give_up_after_s: float = Field(
        86_400, gt=0, description="What could not be delivered for so long is dropped and counted."
    )
    queue: int = Field(
        1000, ge=1, le=100_000, description="Messages that wait; the oldest is dropped and counted."
    )

    @property
    def address(self) -> str:
        """Where it is posted."""
        return PAGERDUTY if self.url is None else self.url.get_secret_value()

    @field_validator("name")
    @classmethod
    def _short(cls, name: str) -> str:
        if name and not _NAME.fullmatch(name):
            raise ValueError("write up to 64 letters, digits, dots, dashes and underscores")
        return name

    @field_validator("url")
    @classmethod
    def _is_one(cls, url: SecretStr | None) -> SecretStr | None:
        # It is not quoted, for it may be a secret.
        text = "http://x" if url is None else url.get_secret_value()
        if "@" in text.partition("?")[0]:
            raise ValueError("holds a user or a password; give `token` instead")
        if not _URL.fullmatch(text) or not text.isascii():
            raise ValueError("is no address; write for example https://hooks.example.com/vigil")
        return url

    @field_validator("token")
    @classmethod
    def _fits_a_header(cls, token: SecretStr | None) -> SecretStr | None:
        text = "x" if token is None else token.get_secret_value()
        if not text.isascii() or not text.isprintable():
            raise ValueError("write printable ASCII only, without line ends: it goes in a header")
        return token

    @model_validator(mode="after")
    def _complete(self) -> Webhook:
        if self.url is None and self.kind != "pagerduty":
            raise ValueError(f"kind {self.kind} needs a url; say where incidents are posted")
        if (self.routing_key is not None) != (self.kind == "pagerduty"):
            raise ValueError("routing_key goes with kind pagerduty, which needs one; nothing else")
        if self.secret is not None and self.kind != "generic":
            raise ValueError("secret goes with kind generic; no other receiver checks a signature")
        return self


def named(webhooks: list[Webhook]) -> list[Webhook]:
    """Return the receivers, each with a name of its own.

    Raises:
        ValueError: two have the same name.
    """
    taken = {each.name for each in webhooks if each.name}
    if len(taken) < sum(bool(each.name) for each in webhooks):
        raise ValueError("two have the same name; each needs its own")
    found = []
    for each in webhooks:
        name, number = each.name or each.kind, 2
        while not each.name and name in taken:
            name, number = f"{each.kind}-{number}", number + 1
        taken.add(name)
        found.append(each.model_copy(update={"name": name}))
    return found
