import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from explain.attribution import ExplanationTooLong, IncompleteAttribution
from explain.kernel_shap import KernelShap, Limits

WEIGHTS = np.random.default_rng(9).normal(size=(12, 3))


def linear(inputs):
    return inputs["x"] @ WEIGHTS + 5


def curved(inputs):
    x = inputs["x"]
    return np.tanh(x[:, 0] * x[:, 1]) + x[:, 2] * x[:, 3] * x[:, 4] + np.sin(x).sum(axis=1)


def rows(count, width=12):
    return np.random.default_rng(count).normal(size=(count, width))


class Counting:
    """A model that remembers how many rows it was given in each call."""

    def __init__(self, model):
        self.model, self.calls = model, []

    def __call__(self, inputs):
        self.calls.append(len(next(iter(inputs.values()))))
        return self.model(inputs)


@pytest.mark.parametrize("n_samples", [48, 500, 4096])
def test_recovers_the_weights_of_a_planted_linear_model(n_samples):
    x, base = rows(5), rows(6)[:5]
    found = KernelShap(linear, ["x"], n_samples=n_samples).explain(
        {"x": x}, [0, 1, 2, 0, 1], {"x": base}
    )
    assert_allclose(found.values["x"], WEIGHTS.T[[0, 1, 2, 0, 1]] * (x - base), atol=1e-9)
    assert_array_equal(found.baselines["x"], base)
    assert (found.method, list(found.effort)) == ("kernel_shap", ["n_samples", "n_features"])
    assert found.effort["n_features"] == 12
    assert found.effort["n_samples"] <= n_samples


def test_an_interaction_is_shared_as_shapley_shares_it(shapley):
    x = rows(3, 8)
    found = KernelShap(curved, ["x"]).explain({"x": x})
    exact = shapley.exact(lambda z: curved({"x": z}), x, np.zeros((1, 8)))
    assert_allclose(found.values["x"], exact, atol=1e-9)
    assert found.effort["n_samples"] == 2**8 - 2


def test_estimates_are_no_worse_than_the_packages_with_as_many_samples(shap):
    x = rows(4, 14)
    exact = KernelShap(curved, ["x"], n_samples=2**14).explain({"x": x}).values["x"]
    ours = KernelShap(curved, ["x"], n_samples=1000).explain({"x": x}).values["x"]
    theirs = []
    for seed in range(5):  # one draw of theirs may be lucky
        np.random.seed(seed)
        package = shap.KernelExplainer(
            lambda z: curved({"x": z}), np.zeros((1, 14)), silent=True, seed=seed
        )
        values = package.shap_values(x, nsamples=1000, l1_reg=0, silent=True)
        theirs.append(np.abs(values - exact).mean())
    assert np.abs(ours - exact).mean() <= 1.2 * np.median(theirs)
    assert np.abs(ours - exact).max() < 0.05


def test_values_always_add_up():
    x = rows(6, 40)
    found = KernelShap(curved, ["x"], n_samples=200).explain({"x": x})
    total = found.values["x"].sum(axis=1)
    assert_allclose(total, curved({"x": x}) - curved({"x": np.zeros((6, 40))}), atol=1e-9)
    assert_allclose(found.convergence_delta, 0, atol=1e-9)
    assert found.relative_error.max() < 1e-6


def words(inputs):
    colour, size = inputs["words"][:, 0], inputs["words"][:, 1]
    assert {type(value) for value in colour} == {bytes}
    both = (colour == b"red") & (size == b"large")
    return 2.0 * (colour == b"red") + 6.0 * both + inputs["price"][:, 0] * 0.5


def test_categories_and_whole_numbers():
    given = {
        "words": np.array([[b"red", b"large"], [b"blue", b"large"]], object),
        "price": np.array([[7], [4]]),
    }
    baseline = {"words": np.array([[b"blue", b"small"]], object), "price": np.array([[3.6]])}
    found = KernelShap(words, ["words", "price"]).explain(given, None, baseline)
    assert_allclose(found.values["words"], [[5, 3], [0, 0]], atol=1e-9)
    assert_allclose(found.values["price"], [[1.5], [0]], atol=1e-9)
    assert found.baselines["price"].tolist() == [[4], [4]]
    assert found.baselines["price"].dtype == given["price"].dtype


def test_without_a_baseline_zeros_and_the_empty_text():
    given = {"words": np.array([[b"red", b"large"]], object), "price": np.array([[True]])}
    found = KernelShap(words, ["words", "price"]).explain(given)
    assert found.baselines["words"].tolist() == [[b"", b""]]
    assert found.baselines["price"].tolist() == [[False]]


def test_what_equals_the_baseline_gets_nothing_and_costs_nothing():
    model = Counting(linear)
    x = np.zeros((1, 12))
    x[0, [2, 7]] = 1.0
    found = KernelShap(model, ["x"]).explain({"x": x}, [1])
    assert_array_equal(np.flatnonzero(found.values["x"][0]), [2, 7])
    assert sum(model.calls) == 1 + 1 + 2
    same = KernelShap(linear, ["x"]).explain({"x": np.zeros((2, 12))})
    assert_array_equal(same.values["x"], 0)


def test_a_missing_value_is_a_value():
    def missing(inputs):
        return np.isnan(inputs["x"]).sum(axis=1) * 2.0

    found = KernelShap(missing, ["x"]).explain({"x": np.array([[np.nan, 1.0]])})
    assert_allclose(found.values["x"], [[2, 0]], atol=1e-12)


def test_images_by_patches():
    def corner(inputs):
        return inputs["image"][:, :, :16, :16].mean(axis=(1, 2, 3))

    image = np.random.default_rng(0).normal(size=(2, 3, 64, 64)).astype(np.float32)
    image[:, 0, 0, 0] = 0.0
    limits = Limits(features=16, batch_rows=50)
    found = KernelShap(corner, ["image"], limits=limits).explain({"image": image})
    assert found.effort["n_features"] == 16
    values = found.values["image"]
    assert_allclose(values[:, :, 16:, :], 0, atol=1e-9)
    assert_allclose(values[:, :, :16, :16].sum(axis=(1, 2, 3)), corner({"image": image}), atol=1e-6)
    # The elements of a patch share it evenly, but for those that are the baseline's.
    assert_array_equal(values[:, 0, 0, 0], 0)
    assert len(np.unique(values[0, :, :16, :16].round(9))) == 2


def test_calls_are_few_and_bounded():
    model = Counting(linear)
    KernelShap(model, ["x"], n_samples=300, limits=Limits(batch_rows=64)).explain({"x": rows(5)})
    assert max(model.calls) == 64
    work = sum(model.calls) - 2 * 5
    assert work <= 5 * 300
    assert len(model.calls) == 2 + -(-work // 64)


def test_large_rows_make_small_batches():
    model = Counting(lambda inputs: inputs["image"][:, 0, 0])
    image = np.ones((1, 1024, 1024))
    KernelShap(model, ["image"], n_samples=14, limits=Limits(features=4)).explain({"image": image})
    assert max(model.calls) == 4


def test_too_much_work_is_refused_before_it_is_done():
    model = Counting(linear)
    explainer = KernelShap(model, ["x"], n_samples=1000, limits=Limits(evaluations=3000))
    with pytest.raises(ValueError, match="needs 4000 evaluations of the model and at most 3000"):
        explainer.explain({"x": rows(4)})
    assert sum(model.calls) == 8
    explainer.explain({"x": rows(3)})


def test_it_gives_up_when_its_time_has_passed():
    now = [0.0]

    def slow(inputs):
        now[0] += 1.0
        return linear(inputs)

    limits = Limits(seconds=5, batch_rows=30)
    explainer = KernelShap(slow, ["x"], limits=limits, clock=lambda: now[0])
    with pytest.raises(ExplanationTooLong, match="longer than 5 s"):
        explainer.explain({"x": rows(2)})
    assert now[0] == 6
    assert explainer.explain({"x": rows(1)}, n_samples=48).effort["n_samples"] <= 48


def test_a_model_that_gives_no_number_is_never_complete():
    def broken(inputs):
        return np.where(inputs["x"][:, 0] == 0, np.inf, 1.0)

    with pytest.raises(IncompleteAttribution, match="not finite"):
        KernelShap(broken, ["x"]).explain({"x": np.ones((1, 3))})


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_is_told_if_its_output_is_not(value):
    def total(inputs):
        return inputs["x"].sum(axis=1) + inputs["y"]

    given = {"x": np.ones((3, 2)), "y": np.ones(3, np.float32)}
    given["x"][1, 0] = value
    with pytest.raises(ValueError, match=r"row 1: .* not finite, and input 'x' holds NaN or"):
        KernelShap(total, ["x", "y"]).explain(given)

    def between(inputs):  # finite at the row and at the baseline
        x = inputs["x"]
        return np.where(np.isfinite(x[:, 0]) == (x[:, 1] == 0), 0.0, np.nan)

    with pytest.raises(ValueError, match=r"row 0: .* not finite, and input 'x'"):
        KernelShap(between, ["x"]).explain({"x": given["x"][[1, 1]]})


def test_a_model_that_answers_otherwise_each_time_stays_complete_or_is_refused():
    random = np.random.default_rng(0)
    found = KernelShap(lambda inputs: random.normal(size=len(inputs["x"])), ["x"]).explain(
        {"x": np.ones((1, 4))}
    )
    assert abs(found.convergence_delta[0]) < 1e-9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"inputs": {}}, "input 'x' is missing"),
        ({"inputs": {"x": np.zeros((0, 12))}}, "at least one row"),
        ({"target": [0]}, "one class index for each of the 2 rows"),
        ({"target": [0, 3]}, "between 0 and 2"),
        ({"baselines": {"y": np.zeros(12)}}, "'y': the model has no such input"),
        ({"baselines": {"x": np.zeros(11)}}, "does not fit"),
        ({"n_samples": 47}, "n_samples must be at least 48 for rows with 12 features"),
    ],
)
def test_what_cannot_be_explained(arguments, message):
    with pytest.raises(ValueError, match=message):
        KernelShap(linear, ["x"]).explain(**{"inputs": {"x": rows(2)}, **arguments})


@pytest.mark.parametrize(
    "model",
    [
        lambda inputs: inputs["x"][:, :, None],
        lambda inputs: np.array([b"yes"] * len(inputs["x"]), object),
    ],
)
def test_outputs_that_are_not_numbers_by_class_are_refused(model):
    with pytest.raises(ValueError, match="must be numbers"):
        KernelShap(model, ["x"]).explain({"x": rows(2)})
