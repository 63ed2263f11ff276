"""Halves that come to different gateways find each other at the monitor."""

from __future__ import annotations

import pytest

from serving.channel.messages.observation import HalfMeta, HalfReply
from serving.dataplane.observing.pairing import Limits
from serving.monitoring.shared_pairs import SharedPairs

ASKED = HalfMeta(("1", "iris"), "request", b"asked", 1.0)
ANSWERED = HalfMeta(("1", "iris"), "response", b"answered", 2.0)


@pytest.mark.parametrize(("first", "second"), [(ASKED, ANSWERED), (ANSWERED, ASKED)])
def test_who_brings_the_second_half_gets_the_first(first: HalfMeta, second: HalfMeta) -> None:
    pairs = SharedPairs()
    assert pairs.half(first) == HalfReply(paired=False)
    assert pairs.half(second) == HalfReply(paired=True, body=first.body, time=first.time)
    assert pairs.half(second) == HalfReply(paired=False)
    assert dropped(pairs) == {"duplicate": 1}


def test_what_waits_too_long_is_counted_without_another_half() -> None:
    now = 0.0
    pairs = SharedPairs(Limits(wait_s=60.0), clock=lambda: now)
    pairs.half(ASKED)
    assert dropped(pairs) == {}
    now = 60.0
    assert dropped(pairs) == {"unpaired": 1}


def dropped(pairs: SharedPairs) -> dict[str, float]:
    return {dict(series.attributes)["reason"]: series.value for series in pairs.snapshot()}
