"""The section `cloudevents` of `vigil.yaml`: who is told of predictions in KServe's events."""

from __future__ import annotations

import re
from typing import Final, Literal

from pydantic import Field, field_validator

from serving.config.section import Section

CLOUDEVENTS_VARIABLE: Final = "VIGIL_CLOUDEVENTS"
"""The section as JSON, in the environment of a monitor."""

_URL: Final = re.compile(r"https?://[^/?#@\s]+(/[^\s#]*)?(\?[^\s#]*)?")


class CloudEvents(Section):
    """Where the events of answered requests are posted, and how."""

    url: str = Field(description="Who takes them: `http://` or `https://`.")
    mode: Literal["batch", "binary"] = Field(
        "batch",
        description="Many events a request, or one each for receivers that take no batches.",
    )
    batch: int = Field(
        200, ge=2, le=10_000, description="Events of a request; an answered request makes two."
    )
    interval_s: float = Field(
        1.0, gt=0, le=60, description="No event waits longer for company than this."
    )
    timeout_s: float = Field(5.0, gt=0, le=60, description="What the receiver may take to answer.")
    queue_mib: int = Field(
        64, ge=1, le=4096, description="Predictions that wait; more are dropped and counted."
    )

    @field_validator("url")
    @classmethod
    def _is_one(cls, url: str) -> str:
        # It is not quoted, for it may hold a secret.
        if "@" in url.partition("?")[0]:
            raise ValueError("holds a user or a secret; write only scheme, host, port and path")
        if not _URL.fullmatch(url) or not url.isascii():
            raise ValueError("is no address; write for example http://127.0.0.1:8080/events")
        return url
