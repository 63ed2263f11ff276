"""What every implementation of `Model` promises, tried on the demo's (two formats, an image, named
features, mixed inputs with text) and on one model of every other format."""

import numpy as np
import pytest
import torch

from serving.demo.loans import sample_applicants
from serving.errors import InvalidInput, Unsupported
from serving.models.contract import Capabilities, Model, Prediction
from serving.models.formats.loader import load
from serving.models.profile.dataset import read_dataset
from serving.models.repository.folder import ModelRepository
from serving.protocol.datatypes import FLOATING

MAX_ULP = 8
ROWS = 192


EVERYTHING = Capabilities(features=True, module=True, differentiable=True)
FEATURES = Capabilities(features=True)
CAPABILITIES = {
    "digits": EVERYTHING,
    "cancer": EVERYTHING,
    "loans": FEATURES,
    "torchscript": EVERYTHING,
    "onnx": FEATURES,
    "sklearn": Capabilities(),
    "python": FEATURES,
    "remote": Capabilities(),
}


@pytest.fixture(scope="module", params=CAPABILITIES)
def entry(request, demo_root, make_format):
    if (demo_root / request.param).is_dir():
        return ModelRepository(demo_root).get(request.param)
    return make_format(request.param)


@pytest.fixture(scope="module")
def model(entry):
    return load(entry, "cpu")


@pytest.fixture
def inputs(entry, demo_root):
    if entry.name == "loans":
        return sample_applicants(ROWS, seed=7).inputs
    if entry.directory.is_relative_to(demo_root):
        source = entry
    else:
        source = ModelRepository(demo_root).get("cancer")
    dataset = read_dataset(source.directory / "reference.parquet", source.config)
    rows = np.random.default_rng(0).permutation(dataset.rows)[:ROWS]
    return dataset.take(rows).inputs


def head(inputs, rows, start=0):
    return {name: array[start : start + rows] for name, array in inputs.items()}


def full(model, inputs):
    if model.capabilities.features:
        return model.predict_with_features(inputs)
    return Prediction(model.predict(inputs))


def ulp(left, right):
    assert left.dtype == right.dtype == np.float32
    as_int = [array.view(np.int32).astype(np.int64) for array in (left, right)]
    a, b = (np.where(bits < 0, -(bits & 0x7FFFFFFF), bits) for bits in as_int)
    return int(np.abs(a - b).max())


def test_it_is_a_model(entry, model):
    assert isinstance(model, Model)
    assert model.capabilities == CAPABILITIES[entry.name]
    floating = all(spec.datatype in FLOATING for spec in entry.config.inputs if not spec.sensitive)
    has_gradients = entry.config.descriptor.has_gradients and floating
    assert model.capabilities.differentiable == has_gradients


def test_outputs_are_as_declared(entry, model, inputs):
    outputs = model.predict(inputs)
    (spec,) = entry.config.outputs
    assert list(outputs) == [spec.name]
    assert outputs[spec.name].shape == (ROWS, *spec.shape[1:])
    assert outputs[spec.name].dtype == np.float32
    np.testing.assert_allclose(outputs[spec.name].sum(axis=1), 1, rtol=1e-6)


def test_same_input_same_output(model, inputs):
    first, second = (model.predict(inputs)["probabilities"] for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_features_come_with_the_same_outputs(model, inputs):
    if not model.capabilities.features:
        with pytest.raises(Unsupported, match="gives no features"):
            model.predict_with_features(inputs)
        return
    prediction = model.predict_with_features(inputs)
    np.testing.assert_array_equal(
        prediction.outputs["probabilities"], model.predict(inputs)["probabilities"]
    )
    assert prediction.features.dtype == np.float32
    assert prediction.features.shape[0] == ROWS


def test_inputs_are_not_written_to(model, inputs):
    before = {name: array.copy() for name, array in inputs.items()}
    model.predict(inputs)
    full(model, inputs)
    for name, array in before.items():
        np.testing.assert_array_equal(inputs[name], array)


def test_read_only_and_strided_inputs(model, inputs):
    expected = model.predict(inputs)["probabilities"]
    for array in inputs.values():
        array.setflags(write=False)
    np.testing.assert_array_equal(model.predict(inputs)["probabilities"], expected)
    backwards = {name: array[::-1] for name, array in inputs.items()}
    np.testing.assert_array_equal(model.predict(backwards)["probabilities"], expected[::-1])


def test_no_rows(model, inputs):
    prediction = full(model, head(inputs, 0))
    outputs = prediction.outputs["probabilities"]
    whole = model.predict(head(inputs, 1))["probabilities"]
    assert outputs.shape == (0, whole.shape[1])
    assert outputs.dtype == np.float32
    if model.capabilities.features:
        assert prediction.features.shape[0] == 0
    assert model.predict(head(inputs, 0))["probabilities"].shape == outputs.shape


def test_a_row_is_the_same_in_every_batch(model, inputs):
    alone = [full(model, head(inputs, 1, row)) for row in range(ROWS)]
    picks = [lambda p: p.outputs["probabilities"], lambda p: p.features]
    for size in (2, 3, 7, 16, 17, 64):
        batches = [full(model, head(inputs, size, start)) for start in range(0, ROWS, size)]
        for pick in picks if model.capabilities.features else picks[:1]:
            one_by_one = np.concatenate([pick(prediction) for prediction in alone])
            together = np.concatenate([pick(prediction) for prediction in batches])
            assert ulp(one_by_one, together) <= MAX_ULP, size


def test_nan_stays_in_its_row(entry, model, inputs):
    clean = model.predict(inputs)["probabilities"]
    name = next(spec.name for spec in entry.config.inputs if spec.datatype == "FP32")
    spoilt = inputs[name].copy()
    spoilt[3] = np.nan
    if entry.name == "sklearn":
        # scikit-learn refuses; bisection then finds the request that held it.
        with pytest.raises(InvalidInput, match="input 'x' holds NaN"):
            model.predict({**inputs, name: spoilt})
        return
    outputs = model.predict({**inputs, name: spoilt})["probabilities"]
    assert np.isnan(outputs[3]).all()
    np.testing.assert_array_equal(np.delete(outputs, 3, axis=0), np.delete(clean, 3, axis=0))


def test_missing_input(model):
    with pytest.raises(InvalidInput, match="needs the input"):
        model.predict({})


def test_module_gives_the_same_outputs_and_gradients(entry, model, inputs):
    if not model.capabilities.module:
        with pytest.raises(Unsupported, match="gives no module"):
            model.module()
        return
    (array,) = (inputs[spec.name] for spec in entry.config.inputs)
    module = model.module()
    x = torch.tensor(array[:4], requires_grad=True)
    outputs = module(x)
    np.testing.assert_allclose(
        outputs.detach().numpy(), model.predict(head(inputs, 4))["probabilities"], rtol=1e-6
    )
    outputs[:, 0].sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


def test_module_is_private(model, inputs):
    if not model.capabilities.module:
        assert not model.capabilities.differentiable
        return
    before = model.predict(inputs)["probabilities"]
    module = model.module()
    module.eval()
    assert not module.training
    with pytest.raises(Unsupported, match="stays in inference mode"):
        module.train()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    np.testing.assert_array_equal(model.predict(inputs)["probabilities"], before)
