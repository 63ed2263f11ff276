import pytest

from serving.config import ConfigError, ModelConfig, parse

X = {"name": "x", "datatype": "FP32", "shape": [-1, 3]}
CODE = {"factory": "net:build", "trust_code": True}


@pytest.mark.parametrize("kind", ["torchscript", "safetensors", "python"])
@pytest.mark.parametrize("missing", ["inputs", "outputs"])
def test_what_an_artefact_does_not_tell_must_be_declared(kind, missing):
    raw = {"format": kind, "inputs": [X], "outputs": [X], "trust_code": True}
    raw |= CODE if kind != "torchscript" else {}
    parse(ModelConfig, raw, "m/model.yaml")
    del raw[missing]
    wanted = rf"^m/model\.yaml: {missing}: is missing, .* {kind} .*`{missing}: \[\{{name: "
    with pytest.raises(ConfigError, match=wanted):
        parse(ModelConfig, raw, "m/model.yaml")


@pytest.mark.parametrize("missing", ["inputs", "outputs"])
def test_of_another_server_watch_writes_them(missing):
    raw = {"format": "remote", "remote": {"url": "grpc://h:1"}, "inputs": [X], "outputs": [X]}
    parse(ModelConfig, raw, "m/model.yaml")
    del raw[missing]
    with pytest.raises(ConfigError, match=rf"{missing}: is missing; `vigil watch .*--write"):
        parse(ModelConfig, raw, "m/model.yaml")


@pytest.mark.parametrize("kind", ["torch_export", "onnx", "sklearn"])
def test_an_artefact_that_tells_may_but_an_empty_list_is_a_mistake(kind):
    assert parse(ModelConfig, {"format": kind}, "m/model.yaml").inputs == []
    with pytest.raises(ConfigError, match=r"inputs: .*at least 1"):
        parse(ModelConfig, {"format": kind, "inputs": []}, "m/model.yaml")


@pytest.mark.parametrize(
    ("output", "is_class"),
    [
        ({"shape": [-1, 2], "method": "predict_proba"}, True),
        ({"shape": [-1, 3], "method": "decision_function"}, True),
        ({"shape": [-1], "datatype": "INT64", "method": "predict"}, True),
        ({"shape": [-1, 2], "datatype": "INT64", "method": "predict"}, False),
        ({"shape": [-1, 2], "method": "transform"}, False),
        ({"shape": [-1], "method": "score_samples"}, False),
    ],
)
def test_a_method_says_whether_an_output_names_a_class(output, is_class):
    raw = {"format": "sklearn", "inputs": [X], "outputs": [{**X, **output}]}
    assert (parse(ModelConfig, raw, "m").class_output is not None) == is_class


def test_only_sklearn_has_methods():
    raw = {"format": "onnx", "outputs": [{**X, "method": "predict"}]}
    with pytest.raises(ConfigError, match=r"output.* 'x' has `method`, which only format sklearn"):
        parse(ModelConfig, raw, "m")
    raw["outputs"][0]["method"] = "score"
    with pytest.raises(ConfigError, match=r"outputs\.0\.method|outputs\[0\]\.method"):
        parse(ModelConfig, {**raw, "format": "sklearn"}, "m")


def test_a_minimum_of_accuracy_needs_classes():
    monitors = {"performance": {"metric": "accuracy", "min": 0.9}}
    raw = {"format": "torch_export", "inputs": [X], "monitors": monitors}
    parse(ModelConfig, {**raw, "outputs": [X]}, "m")
    with pytest.raises(ConfigError, match=r"monitors\.performance\.min: output 'x' names no class"):
        parse(ModelConfig, {**raw, "outputs": [{**X, "shape": [-1, 1]}]}, "m")
    monitors["performance"]["min"] = 0
    with pytest.raises(ConfigError, match="greater than 0"):
        parse(ModelConfig, {**raw, "outputs": [X]}, "m")


def test_objectives_are_shares_and_times():
    raw = {"format": "onnx", "slo": {"availability": 0.99, "latency_ms": 100}}
    slo = parse(ModelConfig, raw, "m").slo
    assert (slo.availability, slo.latency_ms) == (0.99, 100)
    assert parse(ModelConfig, {"format": "onnx", "slo": {}}, "m").slo.latency_ms is None
    assert parse(ModelConfig, {"format": "onnx"}, "m").slo is None
    for wrong in ({"availability": 1}, {"availability": 99.9}, {"latency_ms": 0}):
        with pytest.raises(ConfigError, match=rf"slo\.{next(iter(wrong))}"):
            parse(ModelConfig, {"format": "onnx", "slo": wrong}, "m")
