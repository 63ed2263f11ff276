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


@pytest.mark.parametrize(
    ("output", "performance", "kind"),
    [
        ({"shape": [-1, 3]}, {}, "classes"),
        ({"shape": [-1, 3]}, {"metric": "accuracy", "min": 0.5}, "classes"),
        ({"shape": [-1, 3]}, {"metric": "mae", "max": 2}, "numbers"),
        ({"shape": [-1, 3]}, {"metric": "ndcg", "min": 0.5}, "ranking"),
        ({"shape": [-1], "datatype": "INT64"}, {}, "classes"),
        ({"shape": [-1], "datatype": "INT64"}, {"metric": "rmse"}, "numbers"),
        ({"shape": [-1]}, {"max": 1.5}, "numbers"),
        ({"shape": [-1, 1]}, {}, "numbers"),
        ({"shape": [-1, 1], "datatype": "BF16"}, {}, "numbers"),
        ({"shape": [-1, 1]}, {"metric": "accuracy"}, None),
        ({"shape": [-1], "classes": ["no", "yes"]}, {}, None),
        ({"shape": [-1, -1]}, {}, None),
        ({"shape": [-1, 3, 4]}, {}, None),
        ({"shape": [-1], "datatype": "BYTES"}, {}, None),
    ],
)
def test_what_labels_of_a_model_are(output, performance, kind):
    raw = {"format": "torch_export", "inputs": [X], "outputs": [{**X, **output}]}
    config = parse(ModelConfig, {**raw, "monitors": {"performance": performance}}, "m")
    assert config.label_kind == kind


def test_what_an_estimator_predicts_is_numbers_and_what_it_transforms_is_nothing():
    raw = {"format": "sklearn", "inputs": [X]}
    kinds = {}
    for method in ("predict", "transform", "score_samples"):
        output = {**X, "shape": [-1], "method": method}
        kinds[method] = parse(ModelConfig, {**raw, "outputs": [output]}, "m").label_kind
    assert kinds == {"predict": "numbers", "transform": None, "score_samples": None}
    wide = {**X, "shape": [-1, 3], "method": "predict"}
    assert parse(ModelConfig, {**raw, "outputs": [wide]}, "m").label_kind == "numbers"


@pytest.mark.parametrize(
    ("shape", "performance", "said"),
    [
        ([-1, 65], {"metric": "mae"}, r"metric: mae needs 1 to 64 numbers a row, and output 'x'"),
        ([-1, 1], {"metric": "mrr"}, r"metric: mrr needs 2 to 64 numbers a row"),
        ([-1, 1], {"min": 0.5}, r"min: output 'x' names no class .* write `max`, the largest err"),
        ([-1, 3], {"metric": "mae", "min": 0.5}, r"min: .* write `max`, the largest error"),
        ([-1, 3], {"max": 0.5}, r"max: is the largest error .* write `min`, or take `max` out"),
        ([-1, 3], {"metric": "ndcg", "max": 0.5}, r"max: is the largest error of numbers"),
    ],
)
def test_a_metric_and_its_limit_have_to_fit_the_output(shape, performance, said):
    raw = {"format": "torch_export", "inputs": [X], "outputs": [{**X, "shape": shape}]}
    with pytest.raises(ConfigError, match=rf"monitors\.performance\.{said}"):
        parse(ModelConfig, {**raw, "monitors": {"performance": performance}}, "m")


def test_fairness_counts_classes_and_so_no_labels_that_are_numbers():
    output = {**X, "shape": [-1, 2], "classes": ["no", "yes"]}
    raw = {"format": "torch_export", "inputs": [X], "outputs": [output]}
    raw["fairness"] = {"sensitive": ["sex"], "favorable": "yes"}
    with pytest.raises(
        ConfigError, match=r"metric: mae is not of classes, which `fairness` counts"
    ):
        parse(ModelConfig, {**raw, "monitors": {"performance": {"metric": "mae"}}}, "m")


def tolerating(output, tolerance, favorable="yes"):
    fairness = {"sensitive": ["sex"], "tolerance": tolerance, "favorable": favorable}
    raw = {"format": "torch_export", "inputs": [X], "outputs": [{**X, **output}]}
    config = parse(ModelConfig, {**raw, "fairness": fairness}, "m")
    # What one process writes another one reads.
    assert ModelConfig.model_validate(config.model_dump()) == config
    return config


SCORES = {"shape": [-1, 2], "classes": ["no", "yes"]}
LABELS = {"shape": [-1], "datatype": "INT64", "classes": ["no", "yes"]}
PRICE = {"shape": [-1]}


def test_what_is_tolerated_has_to_be_something_that_the_model_can_break():
    assert tolerating(SCORES, {"calibration_difference": 0.1}).fairness
    assert tolerating(PRICE, {"mae_difference": 1000, "mae_ratio": 0.8}, None).fairness
    with pytest.raises(ConfigError, match=r"tolerance\.mae_ratio: is of models of numbers, and ou"):
        tolerating(SCORES, {"mae_ratio": 0.8})
    with pytest.raises(ConfigError, match=r"accuracy_ratio: is of models of classes, and output"):
        tolerating(PRICE, {"accuracy_ratio": 0.8}, None)
    with pytest.raises(ConfigError, match="'x' gives classes and no probabilities of them"):
        tolerating(LABELS, {"calibration_difference": 0.1})
