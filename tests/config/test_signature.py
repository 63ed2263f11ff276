import pytest

from serving.config import ModelConfig, signature_difference

BEFORE = {
    "format": "onnx",
    "inputs": [
        {
            "name": "x",
            "datatype": "FP32",
            "shape": [-1, 2],
            "features": [{"name": "a"}, {"name": "b"}],
        },
        {"name": "kind", "datatype": "BYTES", "shape": [-1, 1]},
    ],
    "outputs": [
        {"name": "p", "datatype": "FP32", "shape": [-1, 2], "classes": ["no", "yes"]},
        {"name": "score", "datatype": "FP64", "shape": [-1]},
    ],
}


def config(**changes):
    """Return the configuration before, with changes of tensors by name; None takes one away."""
    made = {"format": "onnx", **changes.get("top", {})}
    for key in ("inputs", "outputs"):
        made[key] = [
            {**spec, **(changes.get(spec["name"]) or {})}
            for spec in BEFORE[key]
            if changes.get(spec["name"], {}) is not None
        ]
    made["inputs"] += changes.get("more_inputs", [])
    made["outputs"] += changes.get("more_outputs", [])
    return ModelConfig.model_validate(made)


MORE = {"name": "z", "datatype": "FP32", "shape": [-1, 1]}


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"kind": {"datatype": "INT64"}}, "input 'kind' is INT64, not BYTES"),
        ({"x": {"shape": [-1, 3], "features": None}}, "input 'x' has shape [-1, 3], not [-1, 2]"),
        ({"x": {"name": "z"}}, "input 'x' is gone and input 'z' is new"),
        ({"kind": None}, "input 'kind' is gone"),
        ({"more_inputs": [MORE]}, "input 'z' is new"),
        ({"kind": {"sensitive": True}}, "input 'kind' is sensitive now"),
        (
            {"x": {"features": [{"name": "b"}, {"name": "a"}]}},
            "input 'x' has 'b' as number 0 of its columns, not 'a'",
        ),
        ({"score": None}, "output 'score' is gone"),
        ({"score": {"datatype": "FP32"}}, "output 'score' is FP32, not FP64"),
        (
            {"p": {"shape": [-1, 3], "classes": ["no", "yes", "both"]}},
            "output 'p' has shape [-1, 3], not [-1, 2]",
        ),
        (
            {"p": {"shape": [-1, 2], "classes": ["yes", "no"]}},
            "output 'p' has 'yes' as number 0 of its classes, not 'no'",
        ),
        ({"p": {"classes": None}}, "output 'p' has no classes any more"),
        ({"kind": {"rowless": True}}, "input 'kind' has no rows now"),
        ({"top": {"batching": {"row_axis": False}}}, "its tensors have no row axis now"),
    ],
)
def test_what_clients_would_stumble_over_is_told(changes, difference):
    assert signature_difference(config(), config(**changes)) == difference


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"more_outputs": [MORE]},
        {"score": {"classes": None}},
        {"x": {"min": 0}},
    ],
)
def test_what_disturbs_no_client_is_no_difference(changes):
    assert signature_difference(config(), config(**changes)) is None


def test_the_order_of_tensors_does_not_count():
    turned = config()
    turned = turned.model_copy(
        update={"inputs": turned.inputs[::-1], "outputs": turned.outputs[::-1]}
    )
    assert signature_difference(config(), turned) is None


def test_another_method_of_an_estimator_is_another_output():
    def scores(method):
        output = {"name": "score", "datatype": "FP64", "shape": [-1], "method": method}
        config = {"format": "sklearn", "inputs": BEFORE["inputs"][:1], "outputs": [output]}
        return ModelConfig.model_validate(config)

    told = signature_difference(scores("predict"), scores("decision_function"))
    assert told == "output 'score' is what `decision_function` gives, not `predict`"
