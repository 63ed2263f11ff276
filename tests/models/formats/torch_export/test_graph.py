import numpy as np
import pytest
import torch

from serving.config import ConfigError
from serving.models.formats.loader import load
from serving.models.repository.manifest import write_manifest

X = np.arange(6, dtype=np.float32).reshape(2, 3)


class Plain(torch.nn.Module):
    """A buffer that is saved, one that is not, and a constant: all are inputs of the graph."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 2)
        self.register_buffer("shift", torch.tensor([1.0, 2.0]))
        self.register_buffer("gain", torch.tensor([3.0, 4.0]), persistent=False)
        self.offset = torch.tensor([5.0, 6.0])

    def forward(self, x):
        return (self.linear(x) + self.shift) * self.gain + self.offset


class WithFeatures(Plain):
    def forward_with_features(self, x):
        return self.forward(x), x * 2


class Two(Plain):
    def forward(self, x):
        return x[:, :2], x[:, :2] * 2, x


class Named(Plain):
    def forward(self, x):
        return {"y": super().forward(x), "features": x * 2}


def test_a_dict_of_results_is_taken_in_its_order(make_exported_model):
    model = load(make_exported_model(Named().eval()), "cpu")
    prediction = model.predict_with_features({"x": X})
    np.testing.assert_array_equal(prediction.features, X * 2)
    single = model.module()(torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(single, prediction.outputs["y"], rtol=1e-6)


def test_same_as_the_module_it_came_from(make_exported_model):
    plain = Plain().eval()
    model = load(make_exported_model(plain), "cpu")
    expected = plain(torch.from_numpy(X)).detach().numpy()
    np.testing.assert_allclose(model.predict({"x": X})["y"], expected, rtol=1e-6)
    np.testing.assert_allclose(model.module()(torch.from_numpy(X)).numpy(), expected, rtol=1e-6)
    assert not model.capabilities.features


@pytest.mark.parametrize("rows", [0, 1, 2, 5, 100])
def test_any_number_of_rows(make_exported_model, rows):
    model = load(make_exported_model(WithFeatures()), "cpu")
    x = np.ones((rows, 3), np.float32)
    prediction = model.predict_with_features({"x": x})
    assert prediction.outputs["y"].shape == model.predict({"x": x})["y"].shape == (rows, 2)
    np.testing.assert_array_equal(prediction.features, x * 2)


def test_too_many_results_are_refused(make_exported_model):
    with pytest.raises(ConfigError, match=r"returns 3 results, model\.yaml declares 1"):
        load(make_exported_model(Two()), "cpu")


def test_wrong_number_of_inputs_is_refused(make_exported_model):
    config = """
format: torch_export
inputs:
  - {name: x, datatype: FP32, shape: [-1, 3]}
  - {name: z, datatype: FP32, shape: [-1, 3]}
outputs:
  - {name: y, datatype: FP32, shape: [-1, 2]}
"""
    with pytest.raises(ConfigError, match=r"takes 1 inputs, model\.yaml declares 2"):
        load(make_exported_model(Plain(), config), "cpu")


def test_changed_file_is_refused(make_exported_model):
    entry = make_exported_model(Plain())
    entry.weights.write_bytes(entry.weights.read_bytes() + b"\0")
    with pytest.raises(ConfigError, match=r"model\.pt2: its SHA-256"):
        load(entry, "cpu")


def test_damaged_archive(make_exported_model):
    entry = make_exported_model(Plain())
    entry.weights.write_bytes(b"not an archive")
    write_manifest(entry.directory, ["model.pt2"])
    with pytest.raises(ConfigError, match=r"model\.pt2: "):
        load(entry, "cpu")


def test_exporting_leaves_the_module_alone_and_no_paths_in_the_file(make_exported_model):
    module = Plain().train()
    entry = make_exported_model(module)
    assert module.training
    assert all(parameter.requires_grad for parameter in module.parameters())
    assert __file__.encode() not in entry.weights.read_bytes()


def test_same_module_same_bytes(make_exported_model):
    torch.manual_seed(0)
    module = Plain()
    one, two = (make_exported_model(module, name=name) for name in ("one", "two"))
    assert one.weights.read_bytes() == two.weights.read_bytes()


class Running(torch.nn.Module):
    """Adds up what it sees in a buffer, and gives every row that."""

    def __init__(self):
        super().__init__()
        self.register_buffer("total", torch.zeros(2))

    def forward(self, x):
        self.total.add_(x[:, :2].sum(0))
        return self.total.expand(x.shape[0], 2)


def test_a_result_stays_what_it_is_when_a_graph_writes_to_its_buffers(make_exported_model):
    model = load(make_exported_model(Running()), "cpu")
    x = np.ones((2, 3), np.float32)
    first = model.predict({"x": x})["y"]
    model.predict({"x": x})
    np.testing.assert_array_equal(first, np.full((2, 2), 2))
