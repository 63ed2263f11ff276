import warnings
import zipfile

import numpy as np
import pytest
import torch

from explain.integrated_gradients import IntegratedGradients
from serving.config import ConfigError
from serving.errors import InvalidInput, ModelFailed
from serving.models.formats.loader import load
from serving.models.repository.folder import ModelEntry, ModelRepository
from serving.models.repository.manifest import write_manifest

X = np.arange(6, dtype=np.float32).reshape(2, 3)
CONFIG = """
format: torchscript
trust_code: true
inputs: [{name: x, datatype: FP32, shape: [-1, 3]}]
outputs: [{name: y, datatype: FP32, shape: [-1, 2]}]
"""


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 2)

    def forward(self, x):
        return torch.relu(self.linear(x))


class WithFeatures(Net):
    def forward(self, x):
        hidden = self.linear(x)
        return torch.relu(hidden), hidden


class Listed(Net):
    def forward(self, x):
        return [self.linear(x)]


class Many(Net):
    def forward(self, x):
        return x, x, x


class TwoInputs(Net):
    def forward(self, x, z):
        return self.linear(x + z)


@pytest.fixture
def make(tmp_path):
    def build(module, config=CONFIG):
        folder = tmp_path / "models" / "scripted"
        (folder / "1").mkdir(parents=True)
        (folder / "model.yaml").write_text(config)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            torch.jit.script(module.eval()).save(folder / "1" / "model.pt")
        write_manifest(folder / "1", ["model.pt"])
        return ModelRepository(tmp_path / "models").get("scripted")

    return build


def test_same_as_the_module_it_came_from(make):
    net = Net()
    model = load(make(net), "cpu")
    expected = net(torch.from_numpy(X)).detach().numpy()
    np.testing.assert_allclose(model.predict({"x": X})["y"], expected, rtol=1e-6)
    np.testing.assert_allclose(model.module()(torch.from_numpy(X)).numpy(), expected, rtol=1e-6)
    assert not model.capabilities.features
    assert model.capabilities.differentiable


def test_the_second_result_is_the_features(make):
    net = WithFeatures()
    model = load(make(net), "cpu")
    outputs, features = (part.detach().numpy() for part in net(torch.from_numpy(X)))
    prediction = model.predict_with_features({"x": X})
    np.testing.assert_allclose(prediction.features, features, rtol=1e-6)
    np.testing.assert_allclose(prediction.outputs["y"], outputs, rtol=1e-6)
    assert model.predict({"x": X}).keys() == {"y"}


def test_the_module_is_a_private_copy(make):
    model = load(make(Net()), "cpu")
    before = model.predict({"x": X})["y"]
    with torch.no_grad():
        for parameter in model.module().parameters():
            parameter.zero_()
    np.testing.assert_array_equal(model.predict({"x": X})["y"], before)


@pytest.mark.parametrize(
    ("module", "says"),
    [
        (Listed, r"returns List\[Tensor\]; it must return a tensor or a tuple"),
        (Many, r"returns 3 tensors, model\.yaml declares 1"),
        (TwoInputs, r"takes 2 inputs, model\.yaml declares 1"),
    ],
)
def test_what_does_not_fit_is_named(make, module, says):
    with pytest.raises(ConfigError, match=says):
        load(make(module()), "cpu")


class Sparse(Net):
    def forward(self, x):
        return self.linear(x).to_sparse()


class SparseInside(Net):
    def forward(self, x):
        return torch.sparse.mm(x.to_sparse(), self.linear.weight.t())


class Placed(torch.nn.Module):
    """The first column says where in a row of two the second goes."""

    def forward(self, x):
        where = torch.stack([torch.arange(x.shape[0]), x[:, 0].long()])
        return torch.sparse_coo_tensor(where, x[:, 1], [x.shape[0], 2]).to_dense()


@pytest.mark.parametrize("index", [2, -3, 1e9])
def test_indices_out_of_range_reach_no_memory(make, index):
    model = load(make(Placed()), "cpu")
    with pytest.raises(InvalidInput, match=r"'scripted': input 'x' holds an index .* \([^:]*ind"):
        model.predict({"x": np.array([[1, 5, 0], [index, 7, 0]], np.float32)})
    good = np.array([[1, 5, 0], [0, 7, 0]], np.float32)
    np.testing.assert_array_equal(model.predict({"x": good})["y"], [[0, 5], [7, 0]])


def test_a_sparse_output_is_the_models_failure(make):
    with pytest.raises(ModelFailed, match=r"'scripted' failed: output 'y' is a sparse or nested"):
        load(make(Sparse()), "cpu").predict({"x": X})


def test_sparse_tensors_inside_are_the_models_own_business(make):
    net = SparseInside()
    expected = torch.from_numpy(X) @ net.linear.weight.detach().t()
    found = load(make(net), "cpu").predict({"x": X})["y"]
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5)


def test_needs_trust(make):
    with pytest.raises(ConfigError, match="holds code, so it needs `trust_code: true`"):
        make(Net(), CONFIG.replace("trust_code: true", ""))


def test_the_loader_does_not_rely_on_the_configuration(make):
    entry = make(Net())
    config = entry.config.model_copy(update={"trust_code": False})
    with pytest.raises(ConfigError, match="trust_code: true"):
        load(ModelEntry(entry.name, entry.version, entry.directory, config), "cpu")


def test_a_changed_archive_is_refused(make):
    entry = make(Net())
    entry.weights.write_bytes(entry.weights.read_bytes() + b"\0")
    with pytest.raises(ConfigError, match=r"model\.pt: its SHA-256"):
        load(entry, "cpu")


@pytest.mark.parametrize("kind", ["state dict", "junk"])
def test_what_is_no_torchscript_is_told_how_to_convert(make, kind):
    entry = make(Net())
    if kind == "junk":
        entry.weights.write_bytes(b"junk")
    else:
        torch.save(Net().state_dict(), entry.weights)
    write_manifest(entry.directory, ["model.pt"])
    with pytest.raises(ConfigError, match=r"is no TorchScript archive; .*vigil convert"):
        load(entry, "cpu")


def test_a_damaged_archive_is_named(make):
    entry = make(Net())
    with zipfile.ZipFile(entry.weights, "w") as archive:
        archive.writestr("model/constants.pkl", b"x")
    write_manifest(entry.directory, ["model.pt"])
    with pytest.raises(ConfigError, match=r"model\.pt: RuntimeError"):
        load(entry, "cpu")


def test_integrated_gradients_are_those_of_the_module_it_came_from(make):
    net = Net()
    scripted = load(make(net), "cpu").module()
    found, expected = (
        IntegratedGradients(module, ["x"], n_steps=8, max_relative_error=0.5)
        .explain({"x": X + 1}, target=[0, 1])
        .values["x"]
        for module in (scripted, net.eval())
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
