"""What every explainer promises, on one smooth model of two inputs and three classes."""

import numpy as np
import pytest
import torch

from explain.attribution import Explainer
from explain.integrated_gradients import IntegratedGradients
from explain.kernel_shap import KernelShap


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(16, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3), torch.nn.Softmax(1)
        ).double()

    def forward(self, x: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        return self.layers(torch.cat((x, image.flatten(1)), dim=1))


NET = Net().eval()


def predict(inputs):
    with torch.no_grad():
        return NET(torch.from_numpy(inputs["x"]), torch.from_numpy(inputs["image"])).numpy()


@pytest.fixture(params=["integrated_gradients", "kernel_shap"])
def explainer(request) -> Explainer:
    if request.param == "kernel_shap":
        return KernelShap(predict, ["x", "image"], n_samples=400)
    return IntegratedGradients(NET, ["x", "image"])


def inputs(count: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(count)
    return {"x": random.normal(size=(count, 4)), "image": random.normal(size=(count, 3, 2, 2))}


def test_shapes_and_names(explainer):
    given = inputs(3)
    found = explainer.explain(given)
    assert list(found.values) == list(found.baselines) == ["x", "image"]
    for name, array in given.items():
        assert found.values[name].shape == found.baselines[name].shape == array.shape
    assert found.target.shape == found.convergence_delta.shape == (3,)
    assert found.convergence_delta.dtype == found.relative_error.dtype == np.float64
    assert found.method in ("integrated_gradients", "kernel_shap")


def test_the_predicted_class_is_explained_unless_another_is_named(explainer):
    given = inputs(5)
    assert explainer.explain(given).target.tolist() == predict(given).argmax(axis=1).tolist()
    assert explainer.explain(given, [2] * 5).target.tolist() == [2] * 5


def test_parts_add_up_to_the_change_from_the_baseline(explainer):
    given = inputs(4)
    baseline = {name: np.full_like(array, 0.3) for name, array in given.items()}
    found = explainer.explain(given, [1] * 4, baseline)
    total = sum(values.reshape(4, -1).sum(axis=1) for values in found.values.values())
    change = predict(given)[:, 1] - predict(baseline)[:, 1]
    np.testing.assert_allclose(total - change, found.convergence_delta, atol=1e-9)
    assert found.relative_error.max() < 0.05


def test_methods_agree_on_what_matters_most(explainer):
    given = inputs(8)
    other = KernelShap(predict, ["x", "image"], n_samples=3000).explain(given)
    found = explainer.explain(given)
    one, two = (
        np.concatenate([v.reshape(8, -1) for v in f.values.values()], axis=1)
        for f in (found, other)
    )
    assert np.corrcoef(one.ravel(), two.ravel())[0, 1] > 0.9


def test_equal_questions_have_equal_answers(explainer):
    first, again = explainer.explain(inputs(2)), explainer.explain(inputs(2))
    for name in first.values:
        np.testing.assert_array_equal(first.values[name], again.values[name])


def test_a_row_does_not_depend_on_the_others(explainer):
    given = inputs(3)
    whole = explainer.explain(given)
    for row in range(3):
        alone = explainer.explain({name: array[row : row + 1] for name, array in given.items()})
        for name in given:
            np.testing.assert_allclose(alone.values[name][0], whole.values[name][row], atol=1e-9)


def test_inputs_and_baselines_are_not_written_to(explainer):
    given, baseline = inputs(2), inputs(2)
    for array in [*given.values(), *baseline.values()]:
        array.flags.writeable = False
    explainer.explain(given, None, baseline)


def test_wrong_questions_are_told(explainer):
    with pytest.raises(ValueError, match="'image' is missing"):
        explainer.explain({"x": inputs(1)["x"]})
    with pytest.raises(ValueError, match="between 0 and 2"):
        explainer.explain(inputs(1), [3])
    with pytest.raises(ValueError, match="no such input"):
        explainer.explain(inputs(1), None, {"y": np.zeros(1)})
    with pytest.raises(ValueError, match="at least"):
        explainer.explain(inputs(1), None, None, 0)
