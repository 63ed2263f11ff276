import numpy as np
import pytest
import torch

from serving.config import ConfigError, ModelConfig
from serving.errors import ModelFailed, Unsupported
from serving.models.formats.loader import load
from serving.models.repository.folder import ModelEntry
from serving.models.torch.model import TorchModel, resolve_device

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def model_of(tmp_path, run, inputs, outputs, run_with_features=None):
    config = ModelConfig.model_validate(
        {"format": "torch_export", "inputs": inputs, "outputs": outputs}
    )
    entry = ModelEntry("toy", "1", tmp_path, config)
    return TorchModel(entry, run, run_with_features, torch.nn.Module, is_graph=True)


def tensor(name, datatype, shape, **more):
    return {"name": name, "datatype": datatype, "shape": shape, **more}


@pytest.fixture
def square(tmp_path):
    def make(run, datatype="FP32", **more):
        return model_of(
            tmp_path, run, [tensor("x", "FP32", [-1, 3])], [tensor("y", datatype, [-1, 3])], **more
        )

    return make


def test_failure_keeps_type_and_message_without_traceback(make_factory_model):
    model = load(make_factory_model("raise ValueError('no such\\n   thing')"), "cpu")
    with pytest.raises(ModelFailed) as caught:
        model.predict({"x": X})
    assert caught.value.message == "model 'toy' failed: ValueError: no such thing"
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("run", "says"),
    [
        (lambda x: x.double(), "has torch.float64, model.yaml declares FP32"),
        (lambda x: x[:1], r"has shape \[1, 3\] for 2 rows"),
        (lambda x: x[:, :2], r"has shape \[2, 2\] for 2 rows, model.yaml declares \[-1, 3\]"),
        (lambda x: (x, x), "it returned 2 outputs, model.yaml declares 1"),
        (lambda x: "text", "is a str, not a tensor"),
        (lambda x: None, "is a NoneType, not a tensor"),
    ],
)
def test_wrong_outputs_are_named(square, run, says):
    with pytest.raises(ModelFailed, match=says):
        square(run).predict({"x": X})


NOT_DENSE = {
    "coordinates": lambda x: x.to_sparse(),
    "csr": lambda x: x.to_sparse_csr(),
    "csc": lambda x: x.to_sparse_csc(),
    "bsr": lambda x: x.to_sparse_bsr((1, 1)),
    "nested": lambda x: torch.nested.nested_tensor([x[0], x[1, :2]]),
    "jagged": lambda x: torch.nested.nested_tensor([x[0], x[1, :2]], layout=torch.jagged),
    "out-of-range": lambda x: torch.sparse_coo_tensor(
        torch.tensor([[9], [9]]), torch.ones(1), (2, 3), check_invariants=False
    ),
}


@pytest.mark.filterwarnings("ignore:.*(Sparse|nested).*:UserWarning")
@pytest.mark.parametrize("kind", NOT_DENSE)
def test_what_is_not_dense_is_named(square, kind):
    with pytest.raises(ModelFailed, match=r"output 'y' is a sparse or nested tensor; .*to_dense"):
        square(NOT_DENSE[kind]).predict({"x": X})
    model = square(lambda x: x, run_with_features=lambda x: (x, NOT_DENSE[kind](x)))
    with pytest.raises(ModelFailed, match="features must be one dense tensor"):
        model.predict_with_features({"x": X})


def test_a_negation_that_torch_puts_off(square):
    def run(x):
        return torch.complex(x, x).conj().imag

    np.testing.assert_array_equal(square(run).predict({"x": X})["y"], -X)
    found = square(run, run_with_features=lambda x: (run(x), run(x))).predict_with_features(
        {"x": X}
    )
    np.testing.assert_array_equal(found.features, -X)


def test_dynamic_output_axes(tmp_path):
    model = model_of(
        tmp_path, lambda x: x, [tensor("x", "FP32", [-1, -1])], [tensor("y", "FP32", [-1, -1])]
    )
    np.testing.assert_array_equal(model.predict({"x": X})["y"], X)


def test_a_model_that_works_in_place_cannot_reach_the_caller(square):
    model = square(lambda x: x.mul_(2))
    for _ in range(3):
        inputs = X.copy()
        inputs.setflags(write=False)
        np.testing.assert_array_equal(model.predict({"x": inputs})["y"], X * 2)
        np.testing.assert_array_equal(inputs, X)


def test_code_that_works_in_place_only_now_and_then_cannot_reach_the_caller(make_factory_model):
    body = """
        if x.max() > 1:
            x /= 255
        return self.linear(x)"""
    model = load(make_factory_model(body), "cpu")
    bright = np.full((2, 3), 255, np.float32)
    dark = model.predict({"x": bright / 255})["y"]
    for _ in range(2):
        np.testing.assert_array_equal(model.predict({"x": bright})["y"], dark)
        assert bright.min() == 255


def test_a_result_stays_what_it_is_when_code_uses_its_memory_again(make_factory_model):
    body = """
        out = self.__dict__.setdefault("out", torch.empty(8, 2))[:len(x)]
        return torch.mul(x[:, :2], 2, out=out)

    def forward_with_features(self, x):
        return self.forward(x), self.out[:len(x)]"""
    model = load(make_factory_model(body), "cpu")
    first = model.predict_with_features({"x": X})
    model.predict({"x": X + 1})
    np.testing.assert_array_equal(first.outputs["y"], X[:, :2] * 2)
    np.testing.assert_array_equal(first.features, X[:, :2] * 2)


def test_a_graph_that_writes_in_one_of_its_passes_only(square):
    model = square(lambda x: x + 1, run_with_features=lambda x: (x.mul_(2), x))
    for _ in range(2):
        inputs = X.copy()
        model.predict({"x": inputs})
        model.predict_with_features({"x": inputs})
        np.testing.assert_array_equal(inputs, X)


def test_a_graph_that_only_reads_shares_memory_after_its_first_call(square):
    seen = []

    def run(x):
        seen.append(x.data_ptr())
        return x + 1

    model = square(run)
    inputs = X.copy()
    model.predict({"x": inputs})
    model.predict({"x": inputs})
    assert seen[0] != inputs.ctypes.data
    assert seen[1] == inputs.ctypes.data


def test_code_that_is_no_graph_gets_a_copy_every_time(tmp_path):
    seen = []

    def run(x):
        seen.append(x.data_ptr())
        return x

    config = ModelConfig.model_validate({
        "format": "torch_export",
        "inputs": [tensor("x", "FP32", [-1, 3])],
        "outputs": [tensor("y", "FP32", [-1, 3])],
    })  # fmt: skip
    model = TorchModel(ModelEntry("toy", "1", tmp_path, config), run, None, torch.nn.Module)
    for _ in range(3):
        model.predict({"x": X})
    assert X.ctypes.data not in seen


def test_several_outputs_in_order(tmp_path):
    model = model_of(
        tmp_path,
        lambda x: (x, x.sum(1)),
        [tensor("x", "FP32", [-1, 3])],
        [tensor("same", "FP32", [-1, 3]), tensor("sum", "FP32", [-1])],
    )
    outputs = model.predict({"x": X})
    assert list(outputs) == ["same", "sum"]
    np.testing.assert_array_equal(outputs["sum"], [3, 12])


def test_several_inputs_by_name_and_sensitive_ones_never_seen(tmp_path):
    model = model_of(
        tmp_path,
        lambda *arrays: arrays[0] - arrays[1],
        [
            tensor("a", "FP32", [-1, 3]),
            tensor("sex", "BYTES", [-1, 1], sensitive=True),
            tensor("b", "FP32", [-1, 3]),
        ],
        [tensor("y", "FP32", [-1, 3])],
    )
    sex = np.full((2, 1), b"F", object)
    np.testing.assert_array_equal(model.predict({"b": X, "sex": sex, "a": X * 3})["y"], X * 2)


@pytest.mark.parametrize(
    "datatype",
    ["BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16",
     "FP32", "FP64"],
)  # fmt: skip
def test_every_datatype_passes_through(tmp_path, datatype):
    from serving.protocol.datatypes import NUMPY_OF

    model = model_of(
        tmp_path,
        lambda x: x.clone(),
        [tensor("x", datatype, [-1, 2])],
        [tensor("y", datatype, [-1, 2])],
    )
    x = np.array([[0, 1], [1, 1]], NUMPY_OF[datatype])
    y = model.predict({"x": x})["y"]
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(y, x)


def test_bfloat16_travels_as_bits(tmp_path):
    seen = []

    def run(x):
        seen.append(x.dtype)
        return x * 2

    model = model_of(tmp_path, run, [tensor("x", "BF16", [-1, 2])], [tensor("y", "BF16", [-1, 2])])
    bits = np.array([[0x3F80, 0x4000]], np.uint16)  # 1, 2
    np.testing.assert_array_equal(model.predict({"x": bits})["y"], [[0x4000, 0x4080]])
    assert seen == [torch.bfloat16]


def test_text_becomes_codes_and_the_unknown_minus_one(tmp_path):
    features = [
        {"name": "a", "categories": ["x", "y"]},
        {"name": "b", "categories": ["ü", "v", "w"]},
    ]
    model = model_of(
        tmp_path,
        lambda codes: codes,
        [tensor("t", "BYTES", [-1, 2], features=features)],
        [tensor("codes", "INT64", [-1, 2])],
    )
    text = np.array([[b"y", b"w"], [b"?", "ü".encode()], [b"", b"\xff"]], object)
    np.testing.assert_array_equal(model.predict({"t": text})["codes"], [[1, 2], [-1, 0], [-1, -1]])
    assert model.predict({"t": text[:0]})["codes"].shape == (0, 2)
    assert not model.capabilities.differentiable
    with pytest.raises(Unsupported, match="floating point"):
        model.module()


@pytest.mark.parametrize("more", [{}, {"features": [{"name": "a"}, {"name": "b"}]}])
def test_text_without_categories_is_refused(tmp_path, more):
    with pytest.raises(ConfigError, match="BYTES needs `features` with `categories`"):
        model_of(
            tmp_path,
            lambda x: x,
            [tensor("t", "BYTES", [-1, 2], **more)],
            [tensor("y", "INT64", [-1, 2])],
        )


def test_text_outputs_are_refused(square):
    with pytest.raises(ConfigError, match="torch cannot produce BYTES"):
        square(lambda x: x, datatype="BYTES")


def test_no_features_capability(square):
    model = square(lambda x: x)
    assert not model.capabilities.features
    with pytest.raises(Unsupported, match="forward_with_features"):
        model.predict_with_features({"x": X})


@pytest.mark.parametrize("result", [lambda x: (x, x[:1]), lambda x: (x, x[0, 0]), lambda x: x])
def test_wrong_features_are_the_models_failure(square, result):
    model = square(lambda x: x, run_with_features=result)
    with pytest.raises(ModelFailed, match="features"):
        model.predict_with_features({"x": X[:1].repeat(3, axis=0)})


def test_devices():
    assert resolve_device("cpu").type == "cpu"
    assert resolve_device("auto").type in {"cpu", "cuda"}
    with pytest.raises(ConfigError, match="use auto, cpu"):
        resolve_device("abacus")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_missing_gpu():
    with pytest.raises(ConfigError, match="torch sees no GPU"):
        resolve_device("cuda")
