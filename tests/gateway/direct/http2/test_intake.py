"""What a client may send is bounded, granted again as it is taken, and waste is counted."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from serving.gateway.body_budget import BodyBudget
from serving.gateway.direct.http2.intake import (
    CONNECTION_WINDOW,
    MOST_CONTROL,
    MOST_RESETS,
    STREAM_WINDOW,
    Intake,
)
from serving.http2 import frames as f
from serving.http2.frames import ProtocolError

LIMIT = 1000


class Sender:
    """Keeps the frames."""

    def __init__(self):
        self.frames = []

    def write(self, data):
        self.frames.append(data)


@pytest.fixture
def sender():
    return Sender()


@pytest.fixture
def bodies():
    return BodyBudget(10 * LIMIT, LIMIT)


@pytest.fixture
def intake(sender, bodies):
    return Intake(SimpleNamespace(max_body=LIMIT, bodies=bodies), sender)


def stream(**more):
    made = {"ident": 1, "received": 0, "charged": 0, "unacknowledged": 0, "endless": False}
    head = SimpleNamespace(grpc=True)
    return SimpleNamespace(**{**made, "complete": False, "head": head, **more})


def test_the_connection_is_granted_more_once_half_is_taken(intake, sender):
    half = CONNECTION_WINDOW // 2
    intake.window -= half
    intake.acknowledge(half - 1)
    assert sender.frames == []
    intake.acknowledge(1)
    assert sender.frames == [f.window_update(0, half)]
    assert (intake.window, intake.taken) == (CONNECTION_WINDOW, 0)


def test_a_stream_is_granted_more_once_half_is_taken(intake, sender):
    half = STREAM_WINDOW // 2
    intake.grant(stream(unacknowledged=half - 1))
    assert sender.frames == []
    full = stream(unacknowledged=half)
    intake.grant(full)
    assert sender.frames == [f.window_update(1, half)]
    assert full.unacknowledged == 0


@pytest.mark.parametrize(("waste", "most"), [("nothing", MOST_CONTROL), ("strike", MOST_RESETS)])
def test_waste_is_forgiven_once_in_a_while_and_else_ends_the_connection(intake, waste, most):
    for _ in range(2):
        for _ in range(most):
            getattr(intake, waste)()
        intake.forgive()
    for _ in range(most):
        getattr(intake, waste)()
    with pytest.raises(ProtocolError) as ended:
        getattr(intake, waste)()
    assert ended.value.code == f.ENHANCE_YOUR_CALM


def test_what_a_call_says_of_its_message_is_charged_before_it_comes(intake, bodies):
    call = stream(received=7)
    assert intake.cover(call, b"\0" + (500).to_bytes(4, "big") + b"ab")
    assert (call.charged, bodies.held) == (505, 505)


def test_no_more_is_charged_than_a_message_may_have(intake, bodies):
    call = stream(received=7)
    assert intake.cover(call, b"\0" + (1 << 31).to_bytes(4, "big") + b"ab")
    assert call.charged == LIMIT + 5


@pytest.mark.parametrize("more", [{"endless": True}, {"head": SimpleNamespace(grpc=False)}])
def test_of_other_bodies_what_has_come_is_charged(intake, more):
    other = stream(received=7, **more)
    assert intake.cover(other, b"\0" + (500).to_bytes(4, "big") + b"ab")
    assert other.charged == 7


def test_what_the_app_takes_of_an_endless_stream_is_given_back(intake, bodies):
    endless = stream(endless=True, received=50, charged=50)
    intake.held = bodies.held = 50
    intake.consumed(endless, 20)
    assert (intake.held, endless.received, endless.charged, bodies.held) == (30, 30, 30, 30)
    assert intake.taken == 20
