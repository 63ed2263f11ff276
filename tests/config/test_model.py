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
