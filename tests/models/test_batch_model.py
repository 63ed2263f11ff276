"""What every format's models share, seen on one whose computation is a function of the test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.config import ModelConfig
from serving.errors import InvalidInput, ModelFailed, Unsupported
from serving.models.batch_model import MAX_MESSAGE, BatchModel
from serving.models.contract import Capabilities, Prediction
from serving.models.repository.folder import ModelEntry

X = {"name": "x", "datatype": "FP32", "shape": [-1, 2]}
Y = {"name": "y", "datatype": "FP32", "shape": [-1]}
KIND = {
    "name": "kind",
    "datatype": "BYTES",
    "shape": [-1, 1],
    "features": [{"name": "k", "categories": ["a", "b"]}],
}
THRESHOLD = {"name": "t", "datatype": "FP32", "shape": []}
ROWS = np.array([[1, 2], [3, 4], [5, 6]], np.float32)
OUT_OF_RANGE = IndexError("index 7 is out of range")

Computed = Callable[[dict[str, np.ndarray], int], Any]


def sums(arrays: dict[str, np.ndarray], _rows: int) -> np.ndarray:
    return arrays["x"].sum(1)


class Toy(BatchModel):
    def __init__(self, compute: Computed = sums, inputs=(X,), features=False, **config) -> None:
        made = ModelConfig.model_validate(
            {"format": "onnx", "inputs": list(inputs), "outputs": [Y], **config}
        )
        entry = ModelEntry("toy", "1", Path("/models/toy/1"), made)
        super().__init__(entry, Capabilities(features=features))
        self.calls: list[tuple[dict[str, np.ndarray], int]] = []
        self.compute = compute

    def module(self):
        raise NotImplementedError

    def _why_no_features(self) -> str:
        return "it is a toy"

    def _compute(self, arrays, rows, *, features):
        self.calls.append((arrays, rows))
        y = self._guarded(self.compute, arrays, rows, rows=rows)
        return Prediction({"y": y}, arrays["x"] * 10 if features else None)


def failing(error: BaseException, *, spares_zeros: bool = False) -> Computed:
    """Raise for any batch, or for all but those of zeros only."""

    def compute(arrays: dict[str, np.ndarray], _rows: int) -> np.ndarray:
        if not spares_zeros or arrays["x"].any():
            raise error
        return sums(arrays, _rows)

    return compute


# -- rows in, rows out ----------------------------------------------------------------------------


def test_rows_are_computed_at_once():
    model = Toy(features=True)
    np.testing.assert_array_equal(model.predict({"x": ROWS})["y"], [3, 7, 11])
    found = model.predict_with_features({"x": ROWS})
    np.testing.assert_array_equal(found.outputs["y"], [3, 7, 11])
    np.testing.assert_array_equal(found.features, ROWS * 10)
    assert [rows for _arrays, rows in model.calls] == [3, 3]


def test_of_no_rows_one_blank_row_is_computed_and_thrown_away():
    model = Toy(inputs=[X, KIND], features=True)
    none = {"x": ROWS[:0], "kind": np.empty((0, 1), object)}
    assert model.predict(none)["y"].shape == (0,)
    found = model.predict_with_features(none)
    assert (found.outputs["y"].shape, found.features.shape) == ((0,), (0, 2))
    arrays, rows = model.calls[0]
    assert rows == 1
    assert {name: array.tolist() for name, array in arrays.items()} == {
        "x": [[0, 0]],
        "kind": [[b"a"]],
    }


def test_a_blank_row_keeps_the_sizes_of_free_axes():
    free = {**X, "shape": [-1, -1]}
    model = Toy(inputs=[free])
    model.predict({"x": np.zeros((0, 5), np.float32)})
    assert model.calls[0][0]["x"].shape == (1, 5)


def test_a_model_without_a_row_axis_computes_each_row_alone():
    model = Toy(features=True, batching={"row_axis": False, "max_batch_size": 1})
    found = model.predict_with_features({"x": ROWS})
    np.testing.assert_array_equal(found.outputs["y"], [3, 7, 11])
    np.testing.assert_array_equal(found.features, ROWS * 10)
    assert [(arrays["x"].tolist(), rows) for arrays, rows in model.calls] == [
        ([row], 1) for row in ROWS.tolist()
    ]
    np.testing.assert_array_equal(model.predict({"x": ROWS})["y"], [3, 7, 11])


def test_a_sensitive_input_and_unknown_ones_never_reach_the_model():
    model = Toy(inputs=[{**X, "name": "sex", "sensitive": True}, X])
    model.predict({"sex": ROWS, "more": ROWS, "x": ROWS})
    assert list(model.calls[0][0]) == ["x"]


def test_a_missing_input_is_named():
    with pytest.raises(InvalidInput) as caught:
        Toy(inputs=[X, THRESHOLD]).predict({"x": ROWS})
    assert caught.value.message == "model 'toy' needs the input 't'"


@pytest.mark.parametrize("value", [0.5, np.nan])
def test_an_input_without_rows_has_one_value_in_a_batch(value):
    model = Toy(inputs=[X, THRESHOLD])
    one = np.full(3, value, np.float32)
    np.testing.assert_array_equal(model.predict({"x": ROWS, "t": one})["y"], [3, 7, 11])
    one[2] = 2
    with pytest.raises(InvalidInput) as caught:
        model.predict({"x": ROWS, "t": one})
    assert caught.value.message == (
        "model 'toy': input 't' has no rows, so all rows that are computed together must have the "
        "same value in it"
    )


def test_without_the_capability_features_are_refused_before_anything_is_computed():
    model = Toy()
    with pytest.raises(Unsupported) as caught:
        model.predict_with_features({})
    assert caught.value.message == "model 'toy' gives no features: it is a toy"
    assert not model.capabilities.features
    assert Toy(features=True).capabilities.features


# -- errors of the model --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ValueError("two\n  lines"), "ValueError: two lines"),
        (SystemExit(3), "SystemExit: 3"),
        (KeyError("a"), "KeyError: 'a'"),
        (ValueError("x" * 9999), "ValueError: " + "x" * MAX_MESSAGE),
    ],
)
def test_what_a_model_raises_is_one_line_that_names_it(error, says):
    with pytest.raises(ModelFailed) as caught:
        Toy(failing(error)).predict({"x": ROWS})
    assert caught.value.message == f"model 'toy' failed: {says}"
    assert caught.value.__suppress_context__


def test_an_interrupt_ends_the_process():
    with pytest.raises(KeyboardInterrupt):
        Toy(failing(KeyboardInterrupt())).predict({"x": ROWS})


def test_a_refusal_of_the_model_is_the_clients_fault_and_cut():
    with pytest.raises(InvalidInput) as caught:
        Toy(failing(InvalidInput("n" * 9999))).predict({"x": ROWS})
    assert caught.value.message == "n" * MAX_MESSAGE


def test_a_failure_of_the_models_own_gets_a_cause_for_the_log():
    with pytest.raises(ModelFailed, match=r"^of my own$") as caught:
        Toy(failing(ModelFailed("of my own"))).predict({"x": ROWS})
    assert caught.value.cause is not None
    assert caught.value.cause.type.endswith("ModelFailed")
    known = ModelFailed("of my own")
    known.cause = caught.value.cause
    with pytest.raises(ModelFailed) as again:
        Toy(failing(known)).predict({"x": ROWS})
    assert again.value.cause is caught.value.cause


# -- indices out of range -------------------------------------------------------------------------

CODES = {"name": "code", "datatype": "INT64", "shape": [-1]}
IDS = {"name": "ids", "datatype": "UINT8", "shape": [-1]}


@pytest.mark.parametrize(
    ("inputs", "named"),
    [
        ([X], "input 'x'"),
        ([X, CODES], "input 'code'"),
        ([X, CODES, KIND, IDS], "input 'code' or 'kind' or 'ids'"),
        ([X, {**CODES, "name": "age", "sensitive": True}], "input 'x'"),
    ],
)
def test_of_a_model_that_computes_what_it_should_know_an_index_is_the_clients(inputs, named):
    model = Toy(failing(OUT_OF_RANGE, spares_zeros=True), inputs)
    given = {
        "x": ROWS,
        "code": np.zeros(3, np.int64),
        "ids": np.zeros(3, np.uint8),
        "kind": np.full((3, 1), b"a", object),
    }
    with pytest.raises(InvalidInput) as caught:
        model.predict(given)
    assert caught.value.message == (
        f"model 'toy': {named} holds an index that is out of range (index 7 is out of range); "
        f"send values that the model knows"
    )


def test_of_a_model_that_always_raises_it_is_the_models():
    model = Toy(failing(OUT_OF_RANGE))
    with pytest.raises(ModelFailed, match="failed: IndexError: index 7 is out of range"):
        model.predict({"x": ROWS})


def test_what_a_model_should_know_is_tried_once_for_each_number_of_rows():
    model = Toy(failing(OUT_OF_RANGE, spares_zeros=True))
    for rows, tried in ((3, [3, 3]), (3, [3]), (2, [2, 2])):
        model.calls.clear()
        with pytest.raises(InvalidInput):
            model.predict({"x": ROWS[:rows]})
        assert [count for _arrays, count in model.calls] == tried


def test_another_error_is_not_tried_again():
    model = Toy(failing(ValueError("no such thing"), spares_zeros=True))
    with pytest.raises(ModelFailed):
        model.predict({"x": ROWS})
    assert len(model.calls) == 1
