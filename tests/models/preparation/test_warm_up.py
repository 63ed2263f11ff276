import numpy as np
import pytest

from serving.errors import InvalidInput, ModelFailed
from serving.models.contract import Capabilities, Prediction
from serving.models.formats.loader import load
from serving.models.known_rows import example_inputs
from serving.models.preparation.warm_up import (
    WARM_UP_ROWS,
    require_sound_outputs,
    try_without_example,
    warm_up,
)
from serving.models.repository.folder import ModelEntry, ModelRepository

EXAMPLE = b'{"inputs": [{"name": "x", "shape": [2, 3], "datatype": "FP32", "data": [1,2,3,4,5,6]}]}'


class Recorder:
    """A model that notes the rows of every call."""

    def __init__(self, features):
        self.capabilities = Capabilities(features=features)
        self.rows = []
        self.rows_with_features = []

    def predict(self, inputs):
        self.rows.append(len(inputs["x"]))
        return {}

    def predict_with_features(self, inputs):
        self.rows_with_features.append(len(inputs["x"]))
        return Prediction({})

    def module(self):
        raise AssertionError("not asked for")


@pytest.fixture
def entry(make_factory_model):
    made = make_factory_model()
    return ModelEntry(made.name, made.version, made.directory, made.config, EXAMPLE)


@pytest.mark.parametrize("name", ["digits", "cancer", "loans"])
def test_demo_models_compute_their_examples(demo_root, name):
    entry = ModelRepository(demo_root).get(name)
    warm_up(load(entry, "cpu"), entry)
    for spec in entry.config.inputs:
        assert example_inputs(entry)[spec.name].shape == (2, *spec.shape[1:])


@pytest.mark.parametrize("features", [True, False])
def test_several_batch_sizes(entry, features):
    model = Recorder(features)
    warm_up(model, entry)
    assert model.rows == list(WARM_UP_ROWS)
    assert model.rows_with_features == (list(WARM_UP_ROWS) if features else [])


def test_a_compiled_model_runs_every_bucket(entry):
    batching = entry.config.batching.model_copy(update={"buckets": [3, 5]})
    config = entry.config.model_copy(update={"compile": "default", "batching": batching})
    model = Recorder(features=False)
    warm_up(model, ModelEntry(entry.name, entry.version, entry.directory, config, EXAMPLE))
    assert model.rows == [3, 5]


def test_nothing_without_an_example(make_factory_model):
    model = Recorder(features=True)
    warm_up(model, make_factory_model())
    assert model.rows == []


def test_broken_example(make_factory_model):
    made = make_factory_model()
    broken = ModelEntry(made.name, made.version, made.directory, made.config, b"{")
    with pytest.raises(InvalidInput):
        warm_up(Recorder(features=False), broken)


def test_failing_model(make_factory_model):
    made = make_factory_model("raise ValueError('no')")
    entry = ModelEntry(made.name, made.version, made.directory, made.config, EXAMPLE)
    with pytest.raises(ModelFailed, match="ValueError: no"):
        warm_up(load(entry, "cpu"), entry)


def test_a_row_of_zeros_stands_in_for_a_missing_example(make_factory_model):
    model, made = Recorder(features=False), make_factory_model()
    given = ModelEntry(made.name, made.version, made.directory, made.config, EXAMPLE)
    try_without_example(model, given)
    assert model.rows == []
    try_without_example(model, made)
    assert model.rows == [1]


def test_a_model_that_cannot_compute_the_row_of_zeros(make_factory_model):
    made = make_factory_model("raise ValueError('no')")
    with pytest.raises(ModelFailed, match=r"a row of zeros: .*ValueError: no; .*`example`"):
        try_without_example(load(made, "cpu"), made)


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_an_example_without_one_finite_answer_is_refused(make_factory_model, value):
    made = make_factory_model(f"return x[:, :2] * 0 + float('{value}')")
    entry = ModelEntry(made.name, made.version, made.directory, made.config, EXAMPLE)
    with pytest.raises(ModelFailed, match="is NaN or infinite throughout for the example; correct"):
        warm_up(load(entry, "cpu"), entry)


def test_without_an_example_zeros_alone_prove_nothing(make_factory_model):
    log = make_factory_model("return torch.log(x[:, :2])")
    require_sound_outputs(load(log, "cpu"), log)
    never = make_factory_model("return x[:, :2] * float('nan')", name="never")
    with pytest.raises(ModelFailed, match="throughout for rows of zeros, ones and random numbers"):
        require_sound_outputs(load(never, "cpu"), never)
    raising = make_factory_model("raise ValueError('no')", name="raising")
    require_sound_outputs(load(raising, "cpu"), raising)


def test_the_row_has_the_first_category_where_categories_are_declared(demo_root):
    declared = ModelRepository(demo_root).get("loans")
    entry = ModelEntry(declared.name, declared.version, declared.directory, declared.config)
    taken = {}

    class Taker(Recorder):
        def predict(self, inputs):
            taken.update(inputs)
            return {}

    try_without_example(Taker(features=False), entry)
    features = next(spec for spec in entry.config.inputs if spec.name == "categorical").features
    assert taken["categorical"].tolist() == [[c.categories[0].encode() for c in features]]
    np.testing.assert_array_equal(taken["numeric"], np.zeros((1, 5), np.float32))
