"""Who is traced: OpenTelemetry's own samplers say what is right."""

from __future__ import annotations

import tracemalloc
from random import Random
from typing import Any, get_args

import pytest
from opentelemetry.sdk.trace import sampling as sdk
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    set_span_in_context,
)

from serving.telemetry.sampling import Sampler, SamplerName
from serving.telemetry.trace_context import SpanIds

RATIO = 0.3
OURS: dict[str, Any] = {
    "always_on": sdk.ALWAYS_ON,
    "always_off": sdk.ALWAYS_OFF,
    "traceidratio": sdk.TraceIdRatioBased(RATIO),
    "parentbased_always_on": sdk.DEFAULT_ON,
    "parentbased_always_off": sdk.DEFAULT_OFF,
    "parentbased_traceidratio": sdk.ParentBasedTraceIdRatio(RATIO),
}
TRACE = 0x0AF7651916CD43DD8448EB211C80319C


def value(trace: int, flags: int, span: int = 0xB7AD6B7169203331) -> bytes:
    return f"00-{trace:032x}-{span:016x}-{flags:02x}".encode()


def test_every_sampler_is_held_against_the_sdk_s() -> None:
    assert set(OURS) == set(get_args(SamplerName))


@pytest.mark.parametrize("name", get_args(SamplerName))
def test_children_are_sampled_as_the_sdk_samples_them(name: SamplerName) -> None:
    sampler = Sampler(name, RATIO)
    for flags in range(256):
        random = Random(flags)
        for _ in range(8):
            trace = random.getrandbits(128) or 1
            parent = SpanContext(trace, 7, True, TraceFlags(flags))
            context = set_span_in_context(NonRecordingSpan(parent))
            wanted = OURS[name].should_sample(context, trace, "x").decision.is_sampled()
            ids = sampler.sample(value(trace, flags, 7))
            assert (ids is not None) is wanted, (flags, trace)
            if ids is not None:
                assert (ids.trace, ids.parent) == (trace, 7)
                assert ids.span not in (0, 7)


@pytest.mark.parametrize("name", get_args(SamplerName))
def test_roots_get_ids_that_the_sdk_would_sample(name: SamplerName) -> None:
    sampler = Sampler(name, RATIO, Random(3))
    made = [sampler.sample(b"") for _ in range(10_000)]
    kept = [ids for ids in made if ids is not None]
    share = {"always_on": 1.0, "always_off": 0.0}.get(name.removeprefix("parentbased_"), RATIO)
    assert len(kept) / len(made) == pytest.approx(share, abs=0.02)
    root = OURS[name]
    for ids in kept[:200]:
        assert root.should_sample(None, ids.trace, "x").decision.is_sampled()
        assert ids.parent == 0
    assert len({ids.trace for ids in kept}) == len({ids.span for ids in kept}) == len(kept)


@pytest.mark.parametrize(("ratio", "most", "least"), [(0.0, 0, 0), (1.0, 1000, 1000)])
def test_the_ends_of_the_range_are_exact(ratio: float, most: int, least: int) -> None:
    sampler = Sampler("parentbased_traceidratio", ratio)
    assert least <= sum(sampler.sample(b"") is not None for _ in range(1000)) <= most


def test_the_default_share_over_many_ids() -> None:
    sampler = Sampler("parentbased_traceidratio", 0.01, Random(5))
    assert sum(sampler.sample(b"") is not None for _ in range(200_000)) == pytest.approx(2000, 0.1)


@pytest.mark.parametrize(
    "broken",
    [
        b"x", b"00-ab-cd-01", value(0, 1), value(TRACE, 1, 0), value(TRACE, 1) * 90,
        value(TRACE, 1).upper(), value(TRACE, 1).replace(b"00-", b"ff-"), b"\xff" * 55,
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_no_parent(broken: bytes) -> None:
    ids = Sampler("parentbased_always_on", 1).sample(broken)
    assert ids is not None
    assert ids.parent == 0
    assert ids.trace != TRACE


def test_no_more_are_traced_than_may_be_whoever_asks_for_it() -> None:
    now, limited = [100.0], []
    sampler = Sampler(
        "parentbased_always_on", 1, most_per_s=5, on_limited=lambda: limited.append(now[0]),
        clock=lambda: now[0],
    )  # fmt: skip

    def kept(count: int, traceparent: bytes) -> int:
        return sum(sampler.sample(traceparent) is not None for _ in range(count))

    assert kept(20, b"") == 5
    assert kept(20, value(TRACE, 1)) == 0
    assert len(limited) == 35
    now[0] += 0.5
    assert kept(20, b"") == 2
    now[0] += 100  # no more is saved up than a second's worth
    assert kept(20, b"") == 5
    assert kept(20, value(TRACE, 0)) == 0
    assert len(limited) == 35 + 18 + 15  # who does not ask is not left out because of it


@pytest.mark.parametrize("name", ["parentbased_always_on", "always_on"])
def test_clients_that_ask_for_traces_do_not_keep_out_those_that_begin_here(
    name: SamplerName,
) -> None:
    now = [0.0]
    sampler = Sampler(name, 1, most_per_s=10, clock=lambda: now[0])
    asked = here = 0
    for millisecond in range(100_000):
        now[0] = millisecond / 1000
        asked += sampler.sample(value(TRACE, 1)) is not None
        if millisecond % 250 == 0:
            here += sampler.sample(b"") is not None
    assert here == 400
    assert asked == pytest.approx(1000 - 400, abs=10)  # all else that may be traced


def test_clients_alone_get_as_many_as_may_be() -> None:
    now = [0.0]
    sampler = Sampler("always_on", 1, most_per_s=10, clock=lambda: now[0])
    asked = 0
    for millisecond in range(100_000):
        now[0] = millisecond / 1000
        asked += sampler.sample(value(TRACE, 1)) is not None
    assert asked == pytest.approx(1000, abs=10)


def test_without_a_limit_nobody_is_left_out_and_no_clock_is_asked() -> None:
    def never() -> float:
        pytest.fail("there is nothing to count")

    sampler = Sampler("always_on", 1, on_limited=never, clock=never)
    assert all(sampler.sample(each) for each in [b"", value(TRACE, 1)] * 1000)


@pytest.mark.parametrize("wrong", [float("inf"), float("nan"), -1.0])
def test_what_is_no_limit_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="no token bucket has"):
        Sampler("always_on", 1, most_per_s=wrong)


def test_a_limit_below_one_a_second_lets_one_pass_now_and_then() -> None:
    now = [0.0]
    sampler = Sampler("always_on", 1, most_per_s=0.125, clock=lambda: now[0])
    passed = []
    for second in range(31):
        now[0] = second
        if sampler.sample(b"") is not None:
            passed.append(second)
    assert passed == [0, 8, 16, 24]


def test_a_request_that_is_left_out_leaves_nothing_behind() -> None:
    sampler = Sampler("parentbased_traceidratio", 0.0)
    unsampled = value(TRACE, 0)
    sampler.sample(unsampled)
    tracemalloc.start()
    try:
        before = tracemalloc.take_snapshot()
        for _ in range(1000):
            sampler.sample(unsampled)
            sampler.sample(b"")
        after = tracemalloc.take_snapshot()
    finally:
        tracemalloc.stop()
    ours = [
        change
        for change in after.compare_to(before, "filename")
        if change.traceback[0].filename.endswith(("sampling.py", "trace_context.py"))
    ]
    assert sum(change.count_diff for change in ours) <= 1  # the last number drawn


def test_ids_as_a_traceparent() -> None:
    assert SpanIds(TRACE, 0xB7).traceparent == f"00-{TRACE:032x}-00000000000000b7-01"
