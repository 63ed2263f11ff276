"""Statistics of models: which are told in which order, and what adds up to their numbers."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from serving import errors
from serving.dataplane.hooks.statistics import BatchStatistics, BatchTimes
from serving.gateway.extensions.statistics import BatchStats, Duration, ModelStats, statistics
from serving.telemetry.counters import SeriesSet
from serving.telemetry.metrics.inference import (
    INFERENCE_COMPUTE_DURATION,
    INFERENCE_DURATION,
    INFERENCE_QUEUE_DURATION,
)
from serving.telemetry.outcomes import OUTCOME_ABANDONED, OUTCOME_INVALID, OUTCOME_OK

INFER = "/v2/models/m/infer"


def body(rows: int = 1) -> bytes:
    data = [float(number) for number in range(2 * rows)]
    tensor = {"name": "x", "datatype": "FP32", "shape": [rows, 2], "data": data}
    return json.dumps({"inputs": [tensor]}).encode()


def of(plane: Any, name: str = "m", version: str = "") -> list[ModelStats]:
    return statistics(plane, name, version).model_stats


def keys(found: list[ModelStats]) -> list[tuple[str, str]]:
    return [(one.name, one.version) for one in found]


# -- which ------------------------------------------------------------------------------------


async def test_a_name_means_all_its_versions_and_a_version_that_one(serve: Any) -> None:
    plane = serve("10", "9", "2")
    assert keys(of(plane)) == [("m", "2"), ("m", "9"), ("m", "10")]
    assert keys(of(plane, "m", "9")) == [("m", "9")]


def test_without_a_name_all_are_told_by_name_and_number() -> None:
    given = [("b", "10"), ("b", "9"), ("a", "1"), ("B", "1"), ("a", "11")]
    entries = [
        SimpleNamespace(name=name, version=version, statistics=BatchStatistics())
        for name, version in given
    ]
    plane = SimpleNamespace(entries=lambda: entries, series=SeriesSet())
    assert keys(of(plane, "")) == [("B", "1"), ("a", "1"), ("a", "11"), ("b", "9"), ("b", "10")]
    assert keys(of(SimpleNamespace(entries=list, series=SeriesSet()), "")) == []


@pytest.mark.parametrize(
    ("name", "version", "error"),
    [("q", "", errors.ModelNotFound), ("q", "1", errors.ModelNotFound),
     ("m", "7", errors.VersionNotFound)],
)  # fmt: skip
async def test_what_is_not_served_is_said_in_the_usual_words(
    serve: Any, name: str, version: str, error: type[errors.VigilError]
) -> None:
    plane = serve()
    with pytest.raises(error) as told:
        of(plane, name, version)
    with pytest.raises(error) as usual:
        plane.resolve(name, version)
    assert told.value.message == usual.value.message


# -- numbers ----------------------------------------------------------------------------------


async def test_durations_are_sums_over_outcomes_of_one_version(serve: Any) -> None:
    plane = serve("1", "2")
    for version, model, outcome, seconds in (
        ("1", "m", OUTCOME_OK, [0.25, 0.5]),
        ("1", "m", OUTCOME_INVALID, [1.0]),
        ("1", "m", OUTCOME_ABANDONED, [2.0, 1e-9]),
        ("2", "m", OUTCOME_OK, [64.0]),
        ("1", "n", OUTCOME_OK, [32.0]),
    ):
        recorder = plane.series.histogram(
            INFERENCE_DURATION, model=model, version=version, outcome=outcome
        )
        for value in seconds:
            recorder.record(value)
    plane.series.histogram(INFERENCE_QUEUE_DURATION, model="m", version="1").record(0.125)
    plane.series.histogram(INFERENCE_COMPUTE_DURATION, model="m", version="1").record(16.0)
    (found,) = of(plane, "m", "1")
    stats = found.inference_stats
    assert (stats.success, stats.fail) == (Duration(2, 750_000_000), Duration(3, 3_000_000_001))
    assert stats.queue == Duration(1, 125_000_000)
    (other,) = of(plane, "m", "2")
    assert (other.inference_stats.success, other.inference_stats.fail) == (
        Duration(1, 64_000_000_000), Duration(),
    )  # fmt: skip


async def test_batches_are_told_by_their_size_and_requests_by_what_they_shared(serve: Any) -> None:
    plane = serve()
    counted = plane.served_version("m").statistics
    counted.rows, counted.batches, counted.last_ms = 7, 3, 1234
    counted.requests.add(2, 10, 20, 30)
    counted.by_rows.update({4: BatchTimes(1, 1, 2, 3), 1: BatchTimes(2, 4, 5, 6)})
    (found,) = of(plane)
    assert (found.inference_count, found.execution_count, found.last_inference) == (7, 3, 1234)
    stats = found.inference_stats
    assert (stats.compute_input, stats.compute_infer, stats.compute_output) == (
        Duration(2, 20), Duration(2, 40), Duration(2, 60),
    )  # fmt: skip
    assert found.batch_stats == [
        BatchStats(1, Duration(2, 4), Duration(2, 5), Duration(2, 6)),
        BatchStats(4, Duration(1, 1), Duration(1, 2), Duration(1, 3)),
    ]
    assert stats.cache_hit == stats.cache_miss == Duration()


# -- over HTTP --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "/m", "/m/versions/1"])
async def test_statistics(ask: Any, link: Any, path: str) -> None:
    for rows in (1, 3, 3):
        assert (await ask("POST", INFER, body(rows))).status == 200
    link.error = errors.ModelFailed("it failed")
    assert (await ask("POST", INFER, body(2))).status == 500
    (model,) = (await ask("GET", f"/v2/models{path}/stats")).json()["model_stats"]
    assert (model["name"], model["version"]) == ("m", "1")
    assert (model["inference_count"], model["execution_count"]) == (7, 3)
    assert model["last_inference"] > 1_700_000_000_000
    stats = model["inference_stats"]
    assert (stats["success"]["count"], stats["fail"]["count"]) == (3, 1)
    assert stats["success"]["ns"] > stats["compute_input"]["ns"] > 0
    assert stats["compute_infer"] == {"count": 3, "ns": 3}
    assert stats["compute_output"] == {"count": 3, "ns": 0}
    assert [(b["batch_size"], b["compute_infer"]["count"]) for b in model["batch_stats"]] == [
        (1, 1), (3, 2),
    ]  # fmt: skip
    assert (
        sum(b["compute_input"]["ns"] for b in model["batch_stats"])
        == (stats["compute_input"]["ns"])
    )


async def test_statistics_before_any_request(ask: Any) -> None:
    (model,) = (await ask("GET", "/v2/models/m/stats")).json()["model_stats"]
    assert (model["last_inference"], model["inference_count"], model["batch_stats"]) == (0, 0, [])
