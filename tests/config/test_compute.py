"""Bounds of replicas and batches."""

from __future__ import annotations

import pytest

from serving.config import ConfigError, parse
from serving.config.compute import Batching, Replicas

LIMITS = [
    (Replicas, "min", 1, None),
    (Replicas, "cores", 1, None),
    (Replicas, "gpus", 0, None),
    (Replicas, "max_inflight_batches", 1, 16),
    (Batching, "max_batch_size", 1, None),
    (Batching, "max_queue_delay_us", 0, 10_000_000),
    (Batching, "max_queue_rows", 1, None),
    (Batching, "max_queue_mib", 1, None),
    (Batching, "priority_levels", 0, 100),
    (Batching, "busy_poll_us", 0, 10_000),
]


def refused(kind, **raw):
    with pytest.raises(ConfigError) as told:
        parse(kind, raw, "model.yaml")
    return told.value.message


@pytest.mark.parametrize(("kind", "key", "least", "most"), LIMITS)
def test_limits(kind, key, least, most):
    assert getattr(parse(kind, {key: least}, "x"), key) == least
    assert refused(kind, **{key: least - 1}).startswith(f"model.yaml: {key}: Input should be great")
    high = 10**9 if most is None else most
    assert getattr(parse(kind, {key: high}, "x"), key) == high
    if most is not None:
        assert refused(kind, **{key: most + 1}).startswith(f"model.yaml: {key}: Input should be le")


@pytest.mark.parametrize(
    ("kind", "key"), [(Replicas, "hang_timeout_s"), (Batching, "latency_slo_ms")]
)
def test_times_are_more_than_nothing(kind, key):
    for wrong in (0, -1, "x"):
        assert f"{key}: Input should be" in refused(kind, **{key: wrong})
    assert getattr(parse(kind, {key: 1e-9}, "x"), key) == 1e-9


@pytest.mark.parametrize(
    ("kind", "key", "choices"),
    [
        (Replicas, "device", ["auto", "cpu", "cuda"]),
        (Batching, "fair_share", ["client", "none"]),
    ],
)
def test_choices(kind, key, choices):
    for choice in choices:
        assert getattr(parse(kind, {key: choice}, "x"), key) == choice
    for wrong in ("", choices[0].upper(), "cuda:0", None, 1):
        assert f"{key}: Input should be '{choices[0]}'" in refused(kind, **{key: wrong})


def test_nothing_given_means_one_replica_and_no_bounds():
    replicas, batching = parse(Replicas, None, "x"), parse(Batching, None, "x")
    assert (replicas.min, replicas.cores, replicas.gpus, replicas.device) == (1, 1, 0, "auto")
    assert (batching.join, batching.row_axis, batching.max_queue_delay_us) == (True, True, 0)
    assert (batching.latency_slo_ms, batching.max_batch_size, batching.buckets) == (None,) * 3
    assert (batching.priority_levels, batching.default_priority_level) == (0, None)


@pytest.mark.parametrize("buckets", [[1], [1, 2], [4, 16, 64], list(range(1, 200)), None])
def test_buckets(buckets):
    assert parse(Batching, {"buckets": buckets}, "x").buckets == buckets


@pytest.mark.parametrize("buckets", [[0], [-1, 1], [2, 1], [1, 1], [1, 4, 2]])
def test_buckets_grow(buckets):
    assert refused(Batching, buckets=buckets) == (
        "model.yaml: buckets: must be positive and increasing, such as [1, 4, 16]"
    )


@pytest.mark.parametrize("buckets", [[], [1.5], ["a"], 4, [None]])
def test_what_is_no_list_of_sizes(buckets):
    assert refused(Batching, buckets=buckets).startswith("model.yaml: buckets")


@pytest.mark.parametrize(("level", "levels"), [(1, 1), (1, 2), (2, 2), (100, 100), (None, 0)])
def test_a_default_level_is_one_of_the_levels(level, levels):
    raw = {"priority_levels": levels, "default_priority_level": level}
    assert parse(Batching, raw, "x").default_priority_level == level


@pytest.mark.parametrize(("level", "levels"), [(1, 0), (3, 2), (101, 100)])
def test_any_other_default_level(level, levels):
    assert refused(Batching, priority_levels=levels, default_priority_level=level) == (
        "model.yaml: default_priority_level must be one of the priority_levels"
    )


def test_the_first_level_is_1():
    message = refused(Batching, priority_levels=2, default_priority_level=0)
    assert (
        message == "model.yaml: default_priority_level: Input should be greater than or equal to 1"
    )
