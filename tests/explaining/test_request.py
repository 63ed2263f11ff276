"""What a request for an explanation may ask for, and what its reply holds."""

import numpy as np
import pytest

from explain.attribution import Attribution
from serving.channel.messages.explanation import ExplainMeta
from serving.config import ModelConfig
from serving.errors import InvalidInput, Unsupported
from serving.explaining.request import MAX_ROWS, read_question, write_answer
from serving.models.profile.files import Baseline
from serving.protocol.messages import Tensor

BOTH = ("integrated_gradients", "kernel_shap")
ONE = ("kernel_shap",)
MEAN = Baseline("b", {"x": [0.5, 1.5]})
ROWS = np.ones((3, 2), np.float32)


def config(shape=(-1, 3), classes=("a", "b", "c"), **more):
    x = {"name": "x", "datatype": "FP32", "shape": [-1, 2]}
    y = {"name": "y", "datatype": "FP32", "shape": list(shape), "classes": classes and [*classes]}
    return ModelConfig.model_validate({"format": "onnx", "inputs": [x], "outputs": [y], **more})


def tensor(array, datatype="FP32"):
    return Tensor("x", datatype, array.shape, array)


def asked(array=ROWS, *, of=None, mean=None, offered=BOTH, **meta):
    return read_question(ExplainMeta(**meta), [tensor(array)], of or config(), mean, offered)


def test_without_wishes_everything_is_the_models_choice():
    found = asked()
    assert (found.method, found.target, found.effort) == ("integrated_gradients", None, None)
    assert (found.baseline, found.baselines) == ("zeros", None)
    assert found.inputs["x"] is ROWS


@pytest.mark.parametrize(
    ("wanted", "configured", "offered", "method"),
    [
        (None, "auto", ONE, "kernel_shap"),
        ("auto", "kernel_shap", BOTH, "kernel_shap"),
        (None, "kernel_shap", BOTH, "kernel_shap"),
        ("integrated_gradients", "kernel_shap", BOTH, "integrated_gradients"),
    ],
)
def test_the_method(wanted, configured, offered, method):
    of = config(explain={"method": configured})
    assert asked(of=of, offered=offered, method=wanted).method == method


def test_bf16_is_widened():
    bits = np.array([[0x3F80, 0xC000]], np.uint16)
    found = read_question(ExplainMeta(), [tensor(bits, "BF16")], config(), None, BOTH)
    assert found.inputs["x"].tolist() == [[1, -2]]
    assert found.inputs["x"].dtype == np.float32


@pytest.mark.parametrize("rows", [1, MAX_ROWS])
def test_as_many_rows_as_are_allowed(rows):
    assert asked(np.ones((rows, 2), np.float32), target=2).target == [2] * rows


@pytest.mark.parametrize("rows", [0, MAX_ROWS + 1])
def test_none_or_too_many_rows(rows):
    with pytest.raises(InvalidInput) as caught:
        asked(np.ones((rows, 2), np.float32))
    assert caught.value.message == f"an explanation takes 1 to 256 rows, not {rows}"


def test_no_inputs_and_no_elements():
    with pytest.raises(InvalidInput, match="1 to 256 rows, not 0"):
        read_question(ExplainMeta(), [], config(), None, BOTH)
    with pytest.raises(InvalidInput, match="input 'x' has no elements, so there is nothing"):
        asked(np.ones((2, 0), np.float32))


@pytest.mark.parametrize(
    ("mean", "wanted", "baseline"),
    [(None, None, "zeros"), (MEAN, None, "mean"), (MEAN, "zeros", "zeros"), (MEAN, "mean", "mean")],
)
def test_the_baseline(mean, wanted, baseline):
    found = asked(mean=mean, baseline=wanted)
    assert found.baseline == baseline
    if baseline == "zeros":
        assert found.baselines is None
    else:
        assert found.baselines["x"].tolist() == [[0.5, 1.5]]


@pytest.mark.parametrize(
    ("of", "target", "index"),
    [
        (config(), "c", 2),
        (config(), 0, 0),
        (config(classes=None), 2, 2),
        (config((-1, -1), None), 99, 99),
        (config((-1,), None), 7, 7),
    ],
)
def test_the_target_by_name_and_index(of, target, index):
    assert asked(of=of, target=target).target == [index] * 3


@pytest.mark.parametrize(
    ("of", "meta", "says"),
    [
        (None, {"method": "s" * 50}, f"method '{'s' * 40}' is not offered; use one of auto, "),
        (None, {"baseline": "n" * 50}, f"baseline '{'n' * 40}' is not offered; use zeros or mean"),
        (None, {"baseline": "mean"}, "baseline mean needs a profile of the model; run `vigil prof"),
        (None, {"effort": {"n" * 50: 1}}, f"takes no {'n' * 40}; it takes n_steps"),
        (None, {"effort": {"n_steps": 0}}, "n_steps must be 1 to 1024"),
        (None, {"effort": {"n_steps": 1025}}, "n_steps must be 1 to 1024"),
        (None, {"effort": {"n_steps": 8, "n_samples": 8}}, "takes no n_samples; it takes n_steps"),
        (None, {"target": "t" * 99}, f"target '{'t' * 80}' is no class of the model; it has a, b"),
        (config(classes=None), {"target": "a"}, "no class of the model; the model names no class"),
        (None, {"target": 3}, "target 3 is no class of the model; use 0 to 2"),
        (None, {"target": -1}, "target -1 is no class of the model; use 0 to 2"),
        (config((-1,), None), {"target": -1}, "target -1 is no class of the model; use 0 or more"),
    ],
)
def test_wishes_that_cannot_be_met(of, meta, says):
    with pytest.raises(InvalidInput) as caught:
        asked(of=of, **meta)
    assert says in caught.value.message


@pytest.mark.parametrize("effort", [1, 1024])
def test_effort_within_its_limits(effort):
    assert asked(effort={"n_steps": effort}).effort == effort


def test_a_method_that_the_model_does_not_allow():
    with pytest.raises(Unsupported, match=r"needs a differentiable model .* method kernel_shap$"):
        asked(offered=ONE, method="integrated_gradients")


def test_the_reply():
    found = Attribution(
        "kernel_shap",
        {"x": np.ones((2, 2), np.float32)},
        np.array([1, 0]),
        {"x": np.zeros((2, 2), np.uint16)},
        np.zeros(2),
        np.zeros(2),
        {"n_samples": 8},
    )
    reply, tensors = write_answer(found, "mean", "4")
    assert (reply.method, reply.target, reply.baseline) == ("kernel_shap", (1, 0), "mean")
    assert (reply.effort, reply.version) == ({"n_samples": 8}, "4")
    assert [(each.name, each.datatype, each.shape) for each in tensors] == [
        ("attribution:x", "FP32", (2, 2)),
        ("baseline:x", "UINT16", (2, 2)),  # and not BF16, which is carried alike
        ("convergence_delta", "FP64", (2,)),
    ]
    assert tensors[0].data is found.values["x"]
