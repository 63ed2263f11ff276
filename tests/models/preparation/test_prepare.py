"""A version made ready: what is loaded, measured and tried, in which order, and what is told."""

import json
from pathlib import Path

import numpy as np
import pytest

from serving.config import ConfigError, ModelConfig
from serving.errors import InvalidInput, ModelFailed
from serving.models.contract import Capabilities
from serving.models.preparation.prepare import prepare
from serving.models.preparation.row_coupling import RowsCoupled
from serving.models.repository.folder import ModelEntry

X = {"name": "x", "datatype": "FP32", "shape": [-1, 3]}
TEXT = {"name": "t", "datatype": "BYTES", "shape": [-1]}
EXAMPLE = [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]
ROWS = "16 rows made of the example give the same alone, together and in another order"


def entry_of(*inputs, example=EXAMPLE, **more):
    config = {
        "format": "safetensors",
        "factory": "net:build",
        "trust_code": True,
        "inputs": list(inputs or [X]),
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1]}],
        **({"example": "example.json"} if example else {}),
        **more,
    }
    content = json.dumps({"inputs": example}).encode() if example else None
    return ModelEntry("toy", "7", Path("/toy/7"), ModelConfig.model_validate(config), content)


class Fake:
    """A model of one output that keeps how many rows it was asked for."""

    capabilities = Capabilities()

    def __init__(self, compute=lambda inputs: next(iter(inputs.values())).sum(1)):
        self.compute = compute
        self.asked = []

    def predict(self, inputs):
        self.asked.append(len(next(iter(inputs.values()))))
        return {"y": np.asarray(self.compute(inputs), np.float32)}


@pytest.fixture
def loads(monkeypatch):
    """Lets models be loaded one after the other; returns what they were loaded for."""

    def arrange(*models):
        waiting, asked = list(models), []

        def load(entry, device):
            asked.append((entry.config.precision, entry.config.compile, device))
            return waiting.pop(0)

        monkeypatch.setattr("serving.models.preparation.prepare.load", load)
        return asked

    return arrange


def told(caplog):
    for record in caplog.records:
        assert record.vigil_fields["model"] == "toy"
        assert record.vigil_fields["version"] == "7"
    return [record.getMessage() for record in caplog.records]


@pytest.fixture(autouse=True)
def _all_is_logged(caplog):
    caplog.set_level("INFO")


def test_what_nobody_converts_is_loaded_once_and_not_measured(loads, caplog):
    model = Fake()
    asked = loads(model)
    found = prepare(entry_of(), "cuda:1")
    assert found.model is model
    assert asked == [("fp32", "none", "cuda:1")]
    assert (found.rows, found.measured, found.tried) == (ROWS, None, None)
    assert told(caplog) == [ROWS]
    assert {1, 2, 8, 32} <= set(model.asked)  # warmed up


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({"precision": "bf16"}, ("bf16", "none")),
        ({"compile": "default"}, ("fp32", "default")),
        ({"precision": "bf16", "compile": "default"}, ("bf16", "default")),
    ],
)
def test_what_is_converted_is_measured_against_what_was_made(loads, caplog, more, kind):
    model, made = Fake(lambda inputs: inputs["x"].sum(1) * 1.001), Fake()
    asked = loads(model, made)
    found = prepare(entry_of(**more, precision_tolerance=0.01), "cpu")
    assert found.model is model
    assert asked == [(*kind, "cpu"), ("fp32", "none", "cpu")]
    assert "output 'y' deviates by " in found.measured
    assert "the example" in found.measured
    assert told(caplog) == [found.measured, found.rows]


def test_what_is_converted_needs_an_example(loads, caplog):
    model = Fake()
    asked = loads(model)
    with pytest.raises(ConfigError) as caught:
        prepare(entry_of(precision="bf16", example=None), "cpu")
    assert caught.value.message == (
        "model 'toy': what precision bf16 changes must be measured; name a file with a request by "
        "`example` in model.yaml"
    )
    assert len(asked) == 1  # nothing is loaded for what cannot be measured
    assert not model.asked
    assert not told(caplog)


def test_what_deviates_too_far_is_refused_before_anything_else(loads, caplog):
    model, made = Fake(lambda inputs: inputs["x"].sum(1) * 1.1), Fake()
    loads(model, made)
    with pytest.raises(ConfigError, match=r"deviates by .* on the example .*0\.01 allowed"):
        prepare(entry_of(precision="bf16", precision_tolerance=0.01), "cpu")
    assert not told(caplog)
    assert model.asked == made.asked


def test_what_fails_on_its_example_is_refused_before_rows_are_compared(loads, caplog):
    def fail(inputs):
        raise ModelFailed("model 'toy' failed: no luck")

    model = Fake(fail)
    loads(model)
    with pytest.raises(ModelFailed, match="no luck"):
        prepare(entry_of(), "cpu")
    assert model.asked == [1]
    assert not told(caplog)


def test_an_example_that_is_no_request_is_refused(loads):
    loads(Fake())
    entry = entry_of()
    broken = ModelEntry(entry.name, entry.version, entry.directory, entry.config, b"{}")
    with pytest.raises(InvalidInput):
        prepare(broken, "cpu")


def test_without_an_example_an_output_without_numbers_is_refused(loads, caplog):
    loads(Fake(lambda inputs: np.full(len(inputs["x"]), np.nan)))
    with pytest.raises(ModelFailed, match="NaN or infinite throughout for rows of zeros"):
        prepare(entry_of(example=None), "cpu")
    assert not told(caplog)


def test_rows_that_depend_on_each_other_are_refused(loads, caplog):
    loads(Fake(lambda inputs: np.cumsum(inputs["x"].sum(1))))
    with pytest.raises(RowsCoupled, match="depends on the rows beside it"):
        prepare(entry_of(), "cpu")
    assert not told(caplog)


def lengths(inputs):
    return [len(text) for text in inputs["t"]]


def test_the_text_that_stands_for_an_example_is_told_last(loads, caplog):
    loads(Fake(lengths))
    found = prepare(entry_of(TEXT, example=None), "cpu")
    assert found.tried == (
        "no example, so it is tried with the text \"\" for input 't'; name a request by `example`"
    )
    assert told(caplog) == [found.rows, found.tried]


def test_with_an_example_no_text_stands_for_it(loads, caplog):
    loads(Fake(lengths))
    example = [{"name": "t", "datatype": "BYTES", "shape": [1], "data": ["a"]}]
    found = prepare(entry_of(TEXT, example=example), "cpu")
    assert found.tried is None
    assert told(caplog) == [found.rows]


def test_a_model_on_another_server_is_not_tried(loads, caplog):
    model = Fake(lengths)
    loads(model)
    config = {
        "format": "remote",
        "inputs": [TEXT],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1]}],
        "remote": {"url": "grpc://127.0.0.1:1"},
        "batching": {"max_batch_size": 8},
    }
    entry = ModelEntry("toy", "7", Path("/toy/7"), ModelConfig.model_validate(config))
    found = prepare(entry, "cpu")
    assert (found.tried, found.measured) == (None, None)
    assert told(caplog) == ["rows not compared: the model is on another server"]
    assert not model.asked


def test_what_does_not_load_is_told_as_it_is(monkeypatch):
    def load(entry, device):
        raise ConfigError("damaged")

    monkeypatch.setattr("serving.models.preparation.prepare.load", load)
    with pytest.raises(ConfigError, match=r"^damaged$"):
        prepare(entry_of(), "cpu")
