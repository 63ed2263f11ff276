"""Metrics of CloudEvents: pairs of requests and answers that come in, and those that go out."""

from __future__ import annotations

from typing import Final

from serving.telemetry.metric import total

CLOUDEVENTS_RECEIVED: Final = total(
    "vigil.cloudevents.received", "event", "CloudEvents taken in, by type.", "type", of=()
)
CLOUDEVENTS_PAIRED: Final = total(
    "vigil.cloudevents.paired", "pair", "Pairs of a request and its answer that were recorded."
)
CLOUDEVENTS_DROPPED: Final = total(
    "vigil.cloudevents.dropped",
    "event",
    "CloudEvents that were taken in and not recorded, by reason.",
    "reason",
    of=(),
)
SINK_POSTED: Final = total(
    "vigil.cloudevents.posted",
    "request",
    "Answered requests whose pair of CloudEvents a receiver has taken.",
    of=(),
)
SINK_DROPPED: Final = total(
    "vigil.cloudevents.unposted",
    "request",
    "Answered requests whose pair of CloudEvents was dropped, by reason.",
    "reason",
    of=(),
)
