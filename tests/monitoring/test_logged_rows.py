"""From an event, as gateways publish it, to rows of the prediction log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from guards.decisions import Action
from serving.channel.messages.observation import (
    ANSWERED,
    FAILED,
    REFUSED,
    BatchColumns,
    EventMeta,
    Position,
    RequestColumns,
)
from serving.config import Feature, InputSpec, ModelConfig, ModelLog, Monitors, OutputSpec
from serving.errors import InvalidInput
from serving.log.rows import LogRows
from serving.monitoring.logged_rows import UNKNOWN, how_logged, logged_rows
from serving.protocol.datatypes import fp32_to_bf16
from serving.protocol.messages import Tensor

NOON = 1_796_040_000.0
IDS = bytes(range(32))


def event(
    rows: Sequence[int] = (1, 2, 1), batches: Sequence[int] = (2, 1), **given: Any
) -> EventMeta:
    """Return an event of requests r0, r1, … in batches."""
    count = len(rows)
    requests = {
        "first_rows": [4 * at for at in range(count)],
        "queue_s": [0.5] * count,
        "total_s": [1.0 + at for at in range(count)],
    }
    requests |= given.pop("requests", {})
    times = given.pop("times", [NOON + at for at in range(len(batches))])
    zeros = [0] * len(batches)
    columns = BatchColumns(
        IDS[: 16 * len(batches)], list(batches), times, [2_000_000, 0][: len(batches)], zeros
    )
    values: dict[str, Any] = {
        "position": Position("g", 1, 0, 0, 0), "model": "m", "version": "1", "timestamp": NOON,
        "ids": [f"r{at}" for at in range(count)], "rows": list(rows), "sensitive": {},
        "revision": "abc", "kind": ANSWERED,
        "batches": columns, "requests": RequestColumns(**requests),
    }  # fmt: skip
    return EventMeta(**values | given)


def tensors(total: int, **more: np.ndarray) -> list[Tensor]:
    """Return input x and output y, whose rows bear their numbers, and others."""
    numbers = np.arange(total, dtype=np.float32)
    arrays = {"in:x": numbers, "out:y": np.stack([numbers, -numbers], axis=1), **more}
    return [Tensor(name, "FP32", array.shape, array) for name, array in arrays.items()]


def config(**given: Any) -> ModelConfig:
    usual: dict[str, Any] = {
        "inputs": [InputSpec(name="x", datatype="FP32", shape=[-1])],
        "outputs": [OutputSpec(name="y", datatype="FP32", shape=[-1, 2])],
        "log": ModelLog(capture="full", sample=1.0),
    }
    return ModelConfig(format="torch_export", **usual | given)


FULL = how_logged(config())


def told(rows: Sequence[LogRows]) -> dict[tuple[str, int], float]:
    """Return the value of input x of each row, by request and index."""
    found = {}
    for each in rows:
        owners = np.repeat(each.requests.client_ids, each.requests.rows)
        indexes = [index for count in each.requests.rows for index in range(count)]
        values = each.inputs.get("x", np.full(len(owners), np.nan))
        found.update(zip(zip(owners, indexes, strict=True), values.tolist(), strict=True))
    return found


def test_a_message_becomes_rows_at_once() -> None:
    meta = event(
        sensitive={"sex": ["F", None, "M", "F"]},
        requests={
            "outcomes": {2: "rejected"},
            "decisions": {1: [("ood", 0, Action.FLAG), ("ood", 1, Action.FLAG),
                              ("schema", 1, Action.REJECT)], 2: [("ood", 0, Action.SHADOW)]},
            "arms": {0: "b"}, "principals": {2: "ann"},
            "traces": {1: f"00-{'ab' * 16}-{'cd' * 8}-01"},
        },
    )  # fmt: skip
    (rows,) = logged_rows(meta, tensors(4), FULL)
    assert (rows.model, rows.version, rows.revision) == ("m", "1", "abc")
    assert rows.requests.client_ids == ["r0", "r1", "r2"]
    assert rows.requests.outcomes == ["ok", "ok", "rejected"]
    assert rows.requests.decisions == [(), ("ood:flag", "schema:reject"), ("ood:shadow",)]
    assert rows.requests.arms == ["b", None, None]
    assert rows.requests.principals == [None, None, "ann"]
    assert rows.requests.trace_ids == [None, "ab" * 16, None]
    assert (rows.requests.queue_s, rows.requests.total_s) == ([0.5] * 3, [1.0, 2.0, 3.0])
    assert rows.request_keys() == [(IDS[:16], 0), (IDS[:16], 4), (IDS[16:], 8)]
    assert rows.batches.compute_s == [0.002, 0.0]
    assert rows.batches.times == [NOON, NOON + 1]
    assert rows.sensitive == {"sex": ["F", None, "M", "F"]}
    assert rows.inputs["x"].tolist() == [0, 1, 2, 3]
    assert rows.outputs["y"][:, 1].tolist() == [0, -1, -2, -3]


def test_what_another_server_has_answered_is_of_its_version() -> None:
    (rows,) = logged_rows(event(upstream="v9"), tensors(4), FULL)
    assert rows.version == "v9"


@pytest.mark.parametrize("left", [[0], [1], [2], [0, 2], [0, 1, 2]])
def test_requests_that_another_message_tells_of_are_left_out(left: list[int]) -> None:
    meta = event(requests={"told_elsewhere": left})
    found = told(logged_rows(meta, tensors(4), FULL))
    values = {("r0", 0): 0, ("r1", 0): 1, ("r1", 1): 2, ("r2", 0): 3}
    assert found == {key: x for key, x in values.items() if int(key[0][1]) not in left}


def test_a_request_without_rows_has_one_row_without_values() -> None:
    meta = event(rows=(1, 0, 2), sensitive={"sex": ["F", "M", "F"]})
    scores = np.float32([0.5, 1.5, 2.5])
    some, none = logged_rows(meta, tensors(3, **{"score:far": scores}), FULL)
    assert some.scores["far"].tolist() == scores.tolist()
    assert none.scores == {}
    assert (some.requests.client_ids, some.requests.rows) == (["r0", "r2"], [1, 2])
    assert told([some]) == {("r0", 0): 0, ("r2", 0): 1, ("r2", 1): 2}
    assert (none.requests.client_ids, none.requests.rows) == (["r1"], [1])
    assert [none.inputs, none.outputs, none.sensitive] == [{}, {}, {}]
    assert none.request_keys() == [(IDS[:16], 4)]


def test_refused_requests_have_no_values() -> None:
    meta = event(rows=(0, 3), batches=(1, 1), kind=REFUSED, requests={"first_rows": [0, 0],
                 "outcomes": {0: "invalid", 1: "overloaded"}})  # fmt: skip
    found = logged_rows(meta, [], FULL)
    ends = {each.requests.client_ids[0]: (each.requests.outcomes, each.count) for each in found}
    assert ends == {"r0": (["invalid"], 1), "r1": (["overloaded"], 3)}
    assert all(not each.inputs and not each.outputs for each in found)


@pytest.mark.parametrize("kind", [ANSWERED, FAILED, REFUSED])
def test_what_was_not_answered_makes_no_bytes_of_text(kind: str) -> None:
    words = np.array([[b"car", b"\xff\x00"], [b"", "\u00e9".encode()]], object)
    given = Tensor("in:words", "BYTES", words.shape, words)
    (rows,) = logged_rows(event((2,), (1,), kind=kind), [given], FULL)
    expected = words.tolist() if kind == ANSWERED else [["car", "\\xff\x00"], ["", "\u00e9"]]
    assert rows.inputs["words"].tolist() == expected
    empty = np.empty((2, 0), object)
    (rows,) = logged_rows(
        event((2,), (1,), kind=kind), [Tensor("in:w", "BYTES", empty.shape, empty)], FULL
    )
    assert rows.inputs["w"].shape == (2, 0)


def test_refused_requests_have_the_inputs_that_are_told() -> None:
    x = np.float32([1, np.inf, -1])
    meta = event((1, 2), (1, 1), kind=REFUSED, sensitive={"sex": ["F", None, "M"]},
                 requests={"outcomes": {0: "rejected", 1: "invalid"}})  # fmt: skip
    (rows,) = logged_rows(meta, [Tensor("in:x", "FP32", x.shape, x)], FULL)
    assert rows.inputs["x"].tolist() == x.tolist()
    assert (rows.outputs, rows.sensitive) == ({}, {"sex": ["F", None, "M"]})
    assert rows.requests.outcomes == ["rejected", "invalid"]


def test_rows_are_cut_at_midnight() -> None:
    midnight = NOON - NOON % 86_400 + 86_400
    first, second = logged_rows(event(times=[midnight - 0.1, midnight]), tensors(4), FULL)
    assert told([first]) == {("r0", 0): 0, ("r1", 0): 1, ("r1", 1): 2}
    assert told([second]) == {("r2", 0): 3}
    assert (first.time, second.time) == (midnight - 0.1, midnight)
    assert second.request_keys() == [(IDS[16:], 8)]


def test_bits_are_widened_and_columns_named() -> None:
    how = how_logged(
        config(
            inputs=[
                InputSpec(name="p", datatype="FP32", shape=[-1, 2],
                          features=[Feature(name="age"), Feature(name="debt")]),
                InputSpec(name="b", datatype="BF16", shape=[-1, 2]),
                InputSpec(name="u", datatype="UINT16", shape=[-1]),
                InputSpec(name="v", datatype="FP32", shape=[-1, -1]),
            ],
            outputs=[OutputSpec(name="s", datatype="BF16", shape=[-1, 2], classes=["no", "yes"]),
                     OutputSpec(name="many", datatype="FP32", shape=[-1, 101],
                                classes=[str(each) for each in range(101)])],
        )
    )  # fmt: skip
    assert how.log.features == {"p": ["age", "debt"], "s": ["no", "yes"]}
    assert how.log.lists == {"v"}
    wide = np.array([[0.5, -2.0]], np.float32)
    bits = fp32_to_bf16(wide)
    given = [Tensor(name, "UINT16", bits.shape, bits) for name in ("in:b", "out:s")]
    plain = Tensor("in:u", "UINT16", (1,), np.array([7], np.uint16))
    (rows,) = logged_rows(event((1,), (1,)), [*given, plain], how)
    assert rows.inputs["b"].tolist() == rows.outputs["s"].tolist() == wide.tolist()
    assert rows.inputs["u"].dtype == np.uint16


@pytest.mark.parametrize(
    ("capture", "inputs", "sensitive"),
    [("full", {"x", "image"}, {"sex"}), ("features", {"x"}, {"sex"}), ("none", set(), set())],
)
def test_capture(capture: Any, inputs: set[str], sensitive: set[str]) -> None:
    how = how_logged(config(log=ModelLog(capture=capture, sample=0.5)))
    assert how.log.sample == 0.5
    image = np.zeros((4, 2, 2), np.float32)
    meta = event(sensitive={"sex": ["F"] * 4})
    more = {"in:image": image, "score:far": np.arange(4, dtype=np.float32)}
    (rows,) = logged_rows(meta, tensors(4, **more), how)
    assert rows.inputs.keys() == inputs
    expected = {} if capture == "none" else {"far": [0, 1, 2, 3]}
    assert {guard: scores.tolist() for guard, scores in rows.scores.items()} == expected
    assert rows.sensitive.keys() == sensitive


def test_of_a_model_that_nobody_knows_no_values_are_logged() -> None:
    meta = event(sensitive={"sex": ["F"] * 4})
    (rows,) = logged_rows(meta, tensors(4), UNKNOWN)
    assert [rows.inputs, rows.outputs, rows.sensitive] == [{}, {}, {}]
    assert rows.count == 4
    assert how_logged(config(log=None)) == UNKNOWN


def test_what_is_not_logged_gives_no_rows() -> None:
    assert logged_rows(event(batches=(2, 1)), [], FULL)
    meta = event()
    without = EventMeta(*(getattr(meta, name) for name in meta.__struct_fields__[:10]))
    assert logged_rows(without, tensors(4), FULL) == []


@pytest.mark.parametrize(
    "wrong",
    [{"ids": ["r0"]}, {"rows": [1]}, {"requests": RequestColumns([0], [0.0], [0.0])},
     {"batches": BatchColumns(IDS, [2, 1], [NOON], [0, 0], [0, 0])},
     {"batches": BatchColumns(IDS[:20], [2, 1], [NOON] * 2, [0, 0], [0, 0])},
     {"batches": BatchColumns(IDS, [2, 2], [NOON] * 2, [0, 0], [0, 0])}],
)  # fmt: skip
def test_columns_of_different_lengths_are_refused(wrong: dict[str, Any]) -> None:
    meta = event()
    fields = {name: getattr(meta, name) for name in meta.__struct_fields__}
    with pytest.raises(InvalidInput, match="differ in length"):
        logged_rows(EventMeta(**fields | wrong), tensors(4), FULL)


@pytest.mark.parametrize(
    ("output", "monitors", "expected"),
    [
        (OutputSpec(name="y", datatype="FP32", shape=[-1, 2]), {}, [0, 1]),
        (OutputSpec(name="y", datatype="FP32", shape=[-1, 2]),
         {"performance": {"metric": "rmse", "max": 1.0}}, [[1.0, 0.5], [0.0, 2.0]]),
        (OutputSpec(name="y", datatype="FP32", shape=[-1, 2]), {"performance": None}, None),
        (OutputSpec(name="y", datatype="BYTES", shape=[-1]), {}, None),
    ],
)  # fmt: skip
def test_what_labels_are_compared_with_is_logged_where_a_model_takes_them(
    output, monitors, expected
):
    how = how_logged(config(outputs=[output], monitors=Monitors.model_validate(monitors)))
    if expected is None:
        assert how.predicted is None
    else:
        assert how.predicted is not None
        outputs = {"y": np.array([[1.0, 0.5], [0.0, 2.0]], np.float32)}
        assert how.predicted(outputs).tolist() == expected
        with pytest.raises(KeyError):
            how.predicted({})
