"""CloudEvents as KServe's logger posts them: taken in all modes, paired, recorded like answers."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from serving.channel.messages.directory import Directory, ServedModel
from serving.config import ModelConfig
from serving.dataplane.handler import DataPlane
from serving.dataplane.hooks.records import BatchDone
from serving.gateway.extensions import cloudevents
from serving.gateway.extensions.cloudevents import json_length
from serving.protocol.cloudevents import (
    REQUEST,
    RESPONSE,
    CloudEvent,
    binary_headers,
    structured,
)

CONFIG = ModelConfig.model_validate(
    {
        "format": "torch_export",
        "inputs": [
            {"name": "x", "datatype": "FP32", "shape": [-1, 2]},
            {"name": "word", "datatype": "BYTES", "shape": [-1]},
        ],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 1]}],
        "monitors": {"drift": None, "performance": None},
        "explain": None,
    }
)
ASKED: dict[str, Any] = {
    "id": "c-1",
    "inputs": [
        {"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [1, 2, 3, 4]},
        {"name": "word", "datatype": "BYTES", "shape": [2], "data": ["a", "b"]},
    ],
}
ANSWERED: dict[str, Any] = {
    "model_name": "iris",
    "model_version": "1",
    "id": "s-1",
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [2, 1], "data": [0.5, None]}],
}
FROM, TO = 1_767_225_600.0, 1_767_225_600.25


class Recorded:
    def __init__(self) -> None:
        self.done: list[BatchDone] = []

    def batch_done(self, done: BatchDone) -> None:
        self.done.append(done)


@pytest.fixture
async def plane() -> AsyncIterator[DataPlane]:
    """Serves version 3 of `iris` without any replica."""
    plane = DataPlane("g")
    served = ServedModel("iris", "3", CONFIG.model_dump_json().encode(), "nowhere")
    plane.apply(Directory(1, (served,)))
    yield plane
    plane.close()


@pytest.fixture
def recorded(plane: DataPlane) -> Recorded:
    recorded = Recorded()
    recorder = plane.served_version("iris").recorder
    recorder.batch_hooks = (*recorder.batch_hooks, recorded)
    return recorded


def pair(
    asked: Any = ASKED, answered: Any = ANSWERED, ident: str = "ce-1", **extensions: str
) -> tuple[CloudEvent, CloudEvent]:
    def event(kind: str, data: Any, time: float) -> CloudEvent:
        body = data if isinstance(data, bytes) else msgspec.json.encode(data)
        named = {"inferenceservicename": "iris", "namespace": "default", **extensions}
        return CloudEvent(
            ident, "http://localhost:9081/", kind, body, "application/json", time, named
        )

    return event(REQUEST, asked, FROM), event(RESPONSE, answered, TO)


def counts(plane: DataPlane) -> dict[str, float]:
    """What was counted, by the last part of the metric's name and its attribute."""
    found = {}
    for series in plane.snapshot():
        if series.name.startswith("vigil.cloudevents."):
            of = dict(series.attributes)
            key = series.name.rpartition(".")[2] + ":" + of.get("reason", of.get("type", ""))
            found[key] = found.get(key, 0) + series.value
    return {key: value for key, value in found.items() if value}


@pytest.fixture
def post(ask: Any) -> Any:
    async def post(event: CloudEvent) -> Any:
        return await ask("POST", "/v2/cloudevents", event.data, binary_headers(event).items())

    return post


async def test_a_pair_in_binary_mode_is_recorded_like_an_answer(
    plane: DataPlane, recorded: Recorded, post: Any
) -> None:
    asked, answered = pair()
    answer = await post(asked)
    assert (answer.status, answer.json()) == (200, {"taken": 1, "refused": 0, "errors": []})
    assert recorded.done == []
    assert (await post(answered)).status == 200
    [done] = recorded.done
    assert (done.model, done.version, done.rows, done.output_rows) == ("iris", "3", 2, 2)
    assert (done.time, done.observed, len(done.id)) == (TO, True, 16)
    np.testing.assert_array_equal(done.inputs()["x"], np.array([[1, 2], [3, 4]], np.float32))
    assert done.inputs()["word"].tolist() == [b"a", b"b"]
    np.testing.assert_array_equal(done.outputs["y"], np.array([[0.5], [np.nan]], np.float32))
    [request] = done.requests
    # The other server's version is not one that is served here.
    assert (request.client_id, request.upstream, request.outcome) == ("c-1", "1", "ok")
    assert done.answered - request.arrived == pytest.approx(0.25)
    assert counts(plane) == {"received:request": 1, "received:response": 1, "paired:": 1}


async def test_structured_and_batch_mode_say_the_same(
    plane: DataPlane, recorded: Recorded, ask: Any
) -> None:
    asked, answered = pair()
    kind = [("content-type", "application/cloudevents+json; charset=UTF-8")]
    for event in (answered, asked):  # KServe's workers race
        assert (await ask("POST", "/v2/cloudevents", structured(event), kind)).status == 200
    kind = [("content-type", "application/cloudevents-batch+json")]
    batch = b"[%b]" % b",".join(map(structured, pair(ident="ce-2")))
    answer = await ask("POST", "/v2/cloudevents", batch, kind)
    assert answer.json() == {"taken": 2, "refused": 0, "errors": []}
    assert len(recorded.done) == 2
    assert len({done.id for done in recorded.done}) == 2


async def test_the_right_events_of_a_batch_are_taken(
    recorded: Recorded, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = [("content-type", "application/cloudevents-batch+json")]
    wrong = [b"{}", b"1", b'{"specversion":"1.0","id":"i","source":"s","type":"other"}']
    batch = b"[%b]" % b",".join([*wrong, *map(structured, pair())])
    answer = await ask("POST", "/v2/cloudevents", batch, kind)
    assert answer.status == 200
    told = answer.json()
    assert (told["taken"], told["refused"]) == (2, 3)
    assert [error.partition(":")[0] for error in told["errors"]] == [
        "event 0",
        "event 1",
        "event 2",
    ]
    assert len(recorded.done) == 1
    answer = await ask("POST", "/v2/cloudevents", b"[{}]", kind)
    assert answer.status == 400
    assert "no event of the batch is right" in answer.json()["error"]
    monkeypatch.setattr(cloudevents, "MAX_EVENTS", 3)
    answer = await ask("POST", "/v2/cloudevents", b"[1,1,1,1]", kind)
    assert "at most 3 CloudEvents at once" in answer.json()["error"]
    assert answer.status == 400
    assert (await ask("POST", "/v2/cloudevents", b"[]", kind)).json()["taken"] == 0


@pytest.mark.parametrize(
    "kind", ["", "application/json", "text/plain", "application/cloudevents+avro"]
)
async def test_what_is_no_cloudevent_gets_415(ask: Any, kind: str) -> None:
    answer = await ask("POST", "/v2/cloudevents", b"{}", [("content-type", kind)])
    assert answer.status == 415
    assert "application/cloudevents+json" in answer.json()["error"]


async def test_ids_are_the_clients_where_it_gave_one(recorded: Recorded, post: Any) -> None:
    nameless = {"inputs": ASKED["inputs"]}
    for number, (asked, answered) in enumerate(
        [
            (ASKED, ANSWERED),
            (nameless, ANSWERED),
            (nameless, {**ANSWERED, "id": None}),
            (nameless, {**ANSWERED, "id": ""}),
        ]
    ):
        for event in pair(asked, answered, f"ce-{number}"):
            assert (await post(event)).status == 200
    assert [done.requests[0].client_id for done in recorded.done] == ["c-1", "s-1", "ce-2", "ce-3"]


async def test_halves_of_other_services_are_no_pair(plane: DataPlane, post: Any) -> None:
    await post(pair()[0])
    for name in ("inferenceservicename", "namespace", "component", "endpoint"):
        assert (await post(pair(**{name: "another"})[1])).status == 200
    assert plane.pairs.waiting == 5
    assert "paired:" not in counts(plane)


async def test_the_model_is_the_services_else_that_of_the_answer(
    recorded: Recorded, post: Any
) -> None:
    for number, service in enumerate(["", "iris-in-production"]):
        for event in pair(ident=str(number), inferenceservicename=service):
            assert (await post(event)).status == 200
    assert [done.model for done in recorded.done] == ["iris", "iris"]


async def test_a_served_version_is_not_called_anothers(recorded: Recorded, post: Any) -> None:
    for number, (told, upstream) in enumerate(
        [("3", ""), (3, ""), (None, ""), ("", ""), ("v2.1", "v2.1"), ([1], "")]
    ):
        for event in pair(answered={**ANSWERED, "model_version": told}, ident=str(number)):
            assert (await post(event)).status == 200
        [request] = recorded.done[-1].requests
        assert (recorded.done[-1].version, request.upstream) == ("3", upstream)


BIG = {**ASKED, "inputs": [{**ASKED["inputs"][0], "shape": [2**32, 2**32]}, ASKED["inputs"][1]]}


@pytest.mark.parametrize(
    ("asked", "answered", "reason", "said"),
    [
        (b"", ANSWERED, "unreadable", "the request is not valid"),
        (b"{", ANSWERED, "unreadable", "the request is not valid"),
        (b"[" * 9_000, ANSWERED, "unreadable", "the request is not valid"),
        ({"inputs": []}, ANSWERED, "unreadable", "not valid"),
        (BIG, ANSWERED, "unreadable", "input 'x'"),
        (ASKED, b"\xff", "unreadable", "the answer is not valid"),
        (ASKED, b'{"error":"it broke"}', "unknown_model", "iris2"),
        (ASKED, {**ANSWERED, "outputs": 5}, "unreadable", "the answer cannot be read"),
        (ASKED, b"\x1f\x8bnot gzip", "unreadable", "the answer is no gzip"),
        (ASKED, gzip.compress(b"{}" * 100)[:-12], "unreadable", "cut short"),
        (ASKED, {**ANSWERED, "model_version": "v" * 200}, "unknown_model", "model_version"),
        ({"inputs": ASKED["inputs"][:1]}, ANSWERED, "mismatch", "input 'word'"),
        (ASKED, {**ANSWERED, "outputs": []}, "mismatch", "no output 'y'"),
        (
            ASKED,
            {**ANSWERED, "outputs": [{**ANSWERED["outputs"][0], "datatype": "FP64"}]},
            "mismatch",
            "output 'y' of model 'iris' is FP32, not FP64",
        ),
        (
            ASKED,
            {**ANSWERED, "outputs": [{**ANSWERED["outputs"][0], "shape": [1, 2]}]},
            "mismatch",
            "its request has 2 rows",
        ),
        (
            ASKED,
            {**ANSWERED, "outputs": [{**ANSWERED["outputs"][0], "shape": [2, 2], "data": [1] * 4}]},
            "mismatch",
            "has shape [-1, 1], not [2, 2]",
        ),
    ],
)
async def test_a_pair_that_does_not_fit_gets_a_sentence_and_is_counted(
    plane: DataPlane,
    recorded: Recorded,
    post: Any,
    asked: Any,
    answered: Any,
    reason: str,
    said: str,
) -> None:
    service = "iris2" if said == "iris2" else "iris"
    first, second = pair(asked, answered, inferenceservicename=service)
    assert (await post(first)).status == 200
    answer = await post(second)
    assert answer.status == (404 if reason == "unknown_model" else 400)
    assert said in answer.json()["error"]
    assert counts(plane) == {
        "received:request": 1, "received:response": 1, f"dropped:{reason}": 2,
    }  # fmt: skip
    assert recorded.done == []
    for event in pair(ident="next"):
        assert (await post(event)).status == 200
    assert len(recorded.done) == 1


async def test_an_axis_of_one_that_a_server_adds_or_leaves_out_is_no_difference(
    recorded: Recorded, post: Any
) -> None:
    for number, shape in enumerate([[2], [2, 1, 1]]):
        output = {**ANSWERED["outputs"][0], "shape": shape, "data": [1, 2]}
        for event in pair(answered={**ANSWERED, "outputs": [output]}, ident=str(number)):
            assert (await post(event)).status == 200
        assert recorded.done[-1].outputs["y"].tolist() == [[1.0], [2.0]]


async def test_binary_tensors_are_found_without_the_header_that_the_logger_drops(
    recorded: Recorded, post: Any
) -> None:
    x = np.array([[1, 2], [3, 4]], "<f4").tobytes()
    word = b"".join(len(text).to_bytes(4, "little") + text for text in (b'"}', b"}{"))
    inputs = [
        {"name": "x", "datatype": "FP32", "shape": [2, 2], "parameters": {"binary_data_size": 16}},
        {
            "name": "word", "datatype": "BYTES", "shape": [2],
            "parameters": {"binary_data_size": len(word)},
        },
    ]  # fmt: skip
    asked = msgspec.json.encode({"id": 'ü"}', "inputs": inputs}) + x + word
    output = {
        "name": "y",
        "datatype": "FP32",
        "shape": [2, 1],
        "parameters": {"binary_data_size": 8},
    }
    answered = msgspec.json.encode({**ANSWERED, "outputs": [output]}) + x[:8]
    for event in pair(asked, gzip.compress(answered)):
        assert (await post(event)).status == 200
    [done] = recorded.done
    assert done.inputs()["word"].tolist() == [b'"}', b"}{"]
    assert done.outputs["y"].tolist() == [[1.0], [2.0]]
    assert done.requests[0].client_id == 'ü"}'


def test_where_json_ends() -> None:
    head = json.dumps({"a": {"binary_data_size": 1}, "b": '"}'}).encode()
    assert json_length(head) == len(head)
    assert json_length(head + b"\n ") == len(head) + 2
    assert json_length(b" " + head + b"\x00\xff") == 1 + len(head)
    assert json_length(b'"binary_data_size' + b"[" * 100_000) == 100_017


async def test_v1_bodies_are_the_declared_tensors(recorded: Recorded, post: Any) -> None:
    rows = [{"x": [1, 2], "word": "a"}, {"x": [3, 4], "word": "b"}]
    for number, predictions in enumerate([[[1], [2]], [{"y": [1]}, {"y": [2]}], [1, 2]]):
        for event in pair({"instances": rows}, {"predictions": predictions}, str(number)):
            answer = await post(event)
            assert answer.status == 200, answer.body
        done = recorded.done[-1]
        assert done.inputs()["x"].tolist() == [[1, 2], [3, 4]]
        assert done.inputs()["word"].tolist() == [b"a", b"b"]
        assert done.outputs["y"].tolist() == [[1.0], [2.0]]
        assert done.requests[0].client_id == str(number)


@pytest.mark.parametrize(
    ("asked", "answered", "said"),
    [
        ([[1, 2]], [[1]], "instances must be objects with the keys x, word"),
        ([{"x": [1, 2]}], [[1]], "an element of instances has no 'word'"),
        ({"x": 1}, [[1]], "instances must be a list"),
        ([{"x": [1, "2"], "word": "a"}], [[1]], "input 'x'"),
        ([{"x": [[]], "word": "a"}], [[1]], "input 'x'"),
        ([{"x": [1, 2], "word": "a"}], [[1], [2]], "has 1 rows"),
        ([{"x": [1, 2], "word": "a"}], "text", "predictions must be a list"),
        ([], [], "instances must be objects"),
    ],
)
async def test_v1_bodies_that_do_not_fit_get_a_sentence(
    post: Any, asked: Any, answered: Any, said: str
) -> None:
    first, second = pair({"instances": asked}, {"predictions": answered})
    await post(first)
    answer = await post(second)
    assert answer.status == 400
    assert said in answer.json()["error"]


async def test_an_observed_answer_is_counted_without_times_that_nobody_knows(
    plane: DataPlane, post: Any
) -> None:
    for event in pair():
        await post(event)
    found = {
        (series.name, dict(series.attributes).get("outcome", "")): series
        for series in plane.snapshot()
        if dict(series.attributes).get("model") == "iris"
    }
    assert found["vigil.inference.requests", "ok"].value == 1
    assert found["vigil.inference.rows", ""].value == 2
    assert sum(found["vigil.inference.duration", "ok"].counts) == 1
    assert sum(found["vigil.inference.queue.duration", ""].counts) == 0
    assert sum(found["vigil.inference.compute.duration", ""].counts) == 0
    assert plane.served_version("iris").statistics.rows == 0


async def test_what_waits_when_the_gateway_stops_is_counted(
    plane: DataPlane, post: Any, tmp_path: Path
) -> None:
    await post(pair()[0])
    plane.pairs.close()
    assert counts(plane) == {"received:request": 1, "dropped:unpaired": 1}
