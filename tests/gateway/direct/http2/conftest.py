"""The parts of one HTTP/2 connection without a socket, and what they write as frames."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from serving.dataplane.hooks.server_durations import ServerDurations
from serving.gateway.body_budget import BodyBudget
from serving.gateway.direct.clock import Clock
from serving.gateway.direct.http2.intake import Intake
from serving.gateway.direct.http2.open_streams import OpenStreams
from serving.gateway.direct.http2.sender import Sender
from serving.gateway.direct.limits import Limits
from serving.http2 import frames as f
from serving.telemetry.counters import SeriesSet


class Wire:
    """A transport that keeps what is written."""

    def __init__(self):
        self.written = b""

    def write(self, data):
        self.written += data

    def frames(self):
        """Kind, flags, stream and payload of each frame since the last call."""
        found, at = [], 0
        while at < len(self.written):
            high, low, kind, flags, ident = f.read_head(self.written, at)
            end = at + 9 + (high << 8 | low)
            found.append((kind, flags, ident, self.written[at + 9 : end]))
            at = end
        self.written = b""
        return found


class CountingIntake(Intake):
    """Tells what was counted against the client."""

    strikes = 0

    def strike(self):
        self.strikes += 1
        super().strike()


@pytest.fixture
def wire():
    return Wire()


@pytest.fixture
def made(wire):
    """The open streams, and what stands beside them."""
    clock = Clock(Limits())
    state = SimpleNamespace(
        max_body=1000,
        bodies=BodyBudget(10_000, 1000),
        clock=clock,
        durations=ServerDurations(SeriesSet()),
    )
    sender = Sender(wire, clock)
    intake = CountingIntake(state, sender)
    emptied = []
    streams = OpenStreams(state, sender, intake, lambda: emptied.append(True))
    return SimpleNamespace(state=state, sender=sender, intake=intake, streams=streams, told=emptied)
