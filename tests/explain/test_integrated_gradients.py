import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from explain.attribution import IncompleteAttribution
from explain.integrated_gradients import IntegratedGradients


class Linear(torch.nn.Module):
    """Known weights, three classes."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.arange(12.0).reshape(3, 4) / 7 - 0.8)

    def forward(self, x):
        return x @ self.weight.T + 5


class Product(torch.nn.Module):
    """Two inputs, one output per row."""

    def forward(self, x, image):
        return (x.sum(dim=1) * image.flatten(1).sum(dim=1)) ** 2


class Kink(torch.nn.Module):
    """Flat until shortly before x = 1."""

    def __init__(self, share):
        super().__init__()
        self.share = share

    def forward(self, x):
        return torch.relu(x - 1 + self.share).sum(dim=1) / self.share


def rows(count, width=4):
    return np.random.default_rng(count).normal(size=(count, width)).astype(np.float32)


def test_recovers_the_weights_of_a_planted_linear_model():
    module, x = Linear(), rows(5)
    found = IntegratedGradients(module, ["x"]).explain({"x": x}, target=[0, 1, 2, 0, 1])
    weights = module.weight.detach().numpy()[[0, 1, 2, 0, 1]]
    assert_allclose(found.values["x"], weights * x, rtol=1e-5, atol=1e-6)
    assert_array_equal(found.baselines["x"], np.zeros_like(x))
    assert found.effort == {"n_steps": 32}
    assert found.relative_error.max() < 1e-4


def test_explains_the_predicted_class_by_default():
    module, x = Linear(), rows(6)
    found = IntegratedGradients(module, ["x"]).explain({"x": x})
    assert_array_equal(found.target, module(torch.from_numpy(x)).detach().numpy().argmax(axis=1))
    assert found.target.dtype == np.int64


def test_attributions_add_up_and_the_delta_says_how_well():
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Linear(4, 16), torch.nn.Tanh(), torch.nn.Linear(16, 3), torch.nn.Softmax(dim=1)
    )
    x, base = rows(7), rows(8)[:7]
    found = IntegratedGradients(module, ["x"]).explain({"x": x}, baselines={"x": base})
    with torch.no_grad():
        at = [module(torch.from_numpy(a)).numpy()[np.arange(7), found.target] for a in (x, base)]
    difference = at[0].astype(np.float64) - at[1]
    total = found.values["x"].sum(axis=1, dtype=np.float64)
    assert_allclose(total - difference, found.convergence_delta, atol=1e-7)
    assert found.relative_error.max() <= 0.05
    assert found.convergence_delta.dtype == np.float64


def test_several_inputs_of_any_shape_and_one_output():
    inputs = {"image": np.ones((3, 2, 2), np.float32), "x": rows(3)}
    found = IntegratedGradients(Product(), ["x", "image"]).explain(inputs)
    assert found.values["image"].shape == (3, 2, 2)
    assert_array_equal(found.target, [0, 0, 0])
    expected = (inputs["x"].sum(axis=1) * 4) ** 2
    total = found.values["x"].sum(axis=1) + found.values["image"].sum(axis=(1, 2))
    assert_allclose(total, expected, rtol=1e-4)


def test_baselines_by_default_by_constructor_and_by_call():
    x = rows(3)
    explainer = IntegratedGradients(Linear(), ["x"], baselines={"x": np.arange(4.0)})
    assert_array_equal(explainer.explain({"x": x}).baselines["x"], [[0, 1, 2, 3]] * 3)
    given = explainer.explain({"x": x}, baselines={"x": np.ones((1, 4), np.float32)})
    assert_array_equal(given.baselines["x"], np.ones((3, 4)))
    assert_array_equal(given.values["x"] == 0, x == 1)


def test_rows_that_need_more_steps_get_them_and_the_others_stay():
    explainer = IntegratedGradients(Kink(0.03), ["x"], n_steps=16, max_relative_error=0.02)
    x = np.array([[1.0], [0.5]], dtype=np.float32)
    found = explainer.explain({"x": x})
    assert 16 < found.effort["n_steps"] <= 256
    assert found.relative_error.max() <= 0.02
    assert found.values["x"][0, 0] == pytest.approx(1, abs=0.02)
    assert found.values["x"][1, 0] == 0


def test_what_stays_incomplete_is_an_error_that_names_the_delta():
    explainer = IntegratedGradients(Kink(1e-6), ["x"])
    x = np.array([[0.5], [1.0]], dtype=np.float32)
    with pytest.raises(IncompleteAttribution, match=r"row 1 .* by -1, .* after 256 steps"):
        explainer.explain({"x": x})


def test_no_retry_beyond_the_steps_that_were_asked_for():
    explainer = IntegratedGradients(Kink(1e-6), ["x"], n_steps=300)
    with pytest.raises(IncompleteAttribution, match="after 300 steps"):
        explainer.explain({"x": np.ones((1, 1), np.float32)})


def test_a_model_that_gives_no_number_is_never_complete():
    class Broken(torch.nn.Module):
        def forward(self, x):
            return x.sum(dim=1) * float("nan")

    with pytest.raises(IncompleteAttribution, match="nan"):
        IntegratedGradients(Broken(), ["x"], n_steps=256).explain({"x": rows(1)})


def test_large_batches_are_cut():
    whole, x = Linear(), rows(25)
    small = IntegratedGradients(whole, ["x"], internal_batch_size=8).explain({"x": x})
    large = IntegratedGradients(whole, ["x"]).explain({"x": x})
    assert_allclose(small.values["x"], large.values["x"], rtol=1e-5, atol=1e-6)


def test_rows_do_not_depend_on_their_batch():
    explainer, x = IntegratedGradients(Linear(), ["x"]), rows(4)
    whole = explainer.explain({"x": x}).values["x"]
    for row in range(4):
        alone = explainer.explain({"x": x[row : row + 1]}).values["x"]
        assert_allclose(alone[0], whole[row], rtol=1e-5, atol=1e-6)


def test_inputs_are_not_written_to_and_modules_keep_no_gradients():
    module, x = Linear(), rows(3)
    x.flags.writeable = False
    IntegratedGradients(module, ["x"]).explain({"x": x})
    assert module.weight.grad is None
    assert not module.training


def test_attributions_have_the_dtype_of_the_input():
    x = rows(2).astype(np.float64)
    found = IntegratedGradients(Linear().double(), ["x"]).explain({"x": x})
    assert found.values["x"].dtype == found.baselines["x"].dtype == np.float64


def test_no_rows_give_no_attributions():
    found = IntegratedGradients(Linear(), ["x"]).explain({"x": rows(1)[:0]})
    assert found.values["x"].shape == (0, 4)
    assert found.convergence_delta.shape == (0,)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"inputs": {"x": np.ones((2, 4), np.int64)}}, "'x' is int64.*floating-point"),
        ({"inputs": {"x": np.array([[b"a"] * 4], object)}}, "'x' is object"),
        ({"inputs": {}}, "'x' is missing"),
        ({"inputs": {"x": np.full((1, 4), np.nan)}}, "must be finite"),
        ({"target": [0]}, "one class index for each of the 2 rows"),
        ({"target": [0, 3]}, "between 0 and 2"),
        ({"target": [0.0, 1.0]}, "one class index"),
        ({"baselines": {"x": np.ones((3, 4))}}, r"baseline 'x' of shape \[3, 4\]"),
        ({"baselines": {"z": np.ones((1, 4))}}, "baseline 'z'"),
        ({"n_steps": 0}, "n_steps"),
    ],
)
def test_says_which_argument_is_wrong(arguments, reason):
    explainer = IntegratedGradients(Linear(), ["x"])
    with pytest.raises(ValueError, match=reason):
        explainer.explain(**{"inputs": {"x": rows(2)}, **arguments})


def test_outputs_with_more_axes_are_refused():
    class Cube(torch.nn.Module):
        def forward(self, x):
            return x[:, :, None]

    with pytest.raises(ValueError, match="3 axes"):
        IntegratedGradients(Cube(), ["x"]).explain({"x": rows(2)})
