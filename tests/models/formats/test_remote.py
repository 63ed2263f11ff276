"""Format `remote` from the command line's side: found, compared, or one clear sentence."""

import numpy as np
import pytest

from serving.config import ConfigError
from serving.errors import InvalidInput, ModelFailed, ModelNotReady, Unreachable
from serving.models.formats.loader import load
from serving.models.preparation.warm_up import warm_up
from serving.models.repository.folder import ModelRepository

CONFIG = """
format: remote
remote: {{url: 'grpc://{address}', {more}}}
inputs: [{{name: x, datatype: FP32, shape: [-1, 2]}}]
outputs: [{{name: y, datatype: FP32, shape: [-1, 2]}}]
"""


@pytest.fixture
def make_entry(tmp_path, upstream):
    def make(more="", address=None):
        (tmp_path / "m").mkdir(exist_ok=True)
        text = CONFIG.format(address=address or upstream.address, more=more)
        (tmp_path / "m" / "model.yaml").write_text(text)
        return ModelRepository(tmp_path).get("m")

    return make


def test_it_needs_no_folder_for_a_version(make_entry):
    assert make_entry().version == "1"


def test_rows_go_alone_without_row_axis(make_entry, upstream):
    model = load(make_entry("row_axis: false"), "cpu")
    x = np.array([[1, 2], [3, 4]], np.float32)
    np.testing.assert_array_equal(model.predict({"x": x})["y"], 2 * x)
    assert [request.inputs[0].shape for request in upstream.requests] == [(2,), (2,)]


def test_the_name_there_may_be_another(make_entry, upstream):
    load(make_entry("model: theirs, version: '7'"), "cpu").predict({"x": np.ones((1, 2), "f4")})
    assert (upstream.requests[0].model_name, upstream.requests[0].model_version) == ("theirs", "7")


def test_the_server_is_told_of_the_trace(make_entry, upstream):
    model = load(make_entry(), "cpu")
    model.traceparent = "00-" + "5" * 32 + "-" + "6" * 16 + "-01"
    model.predict({"x": np.ones((1, 2), np.float32)})
    assert upstream.traceparents == [model.traceparent]


def test_refusals(make_entry):
    model = load(make_entry(), "cpu")
    with pytest.raises(InvalidInput, match="poison row"):
        model.predict({"x": np.full((1, 2), 666, np.float32)})


def test_nobody_there(make_entry):
    entry = make_entry(address="127.0.0.1:1")
    model = load(entry, "cpu")  # an explainer may start before that server does
    with pytest.raises(Unreachable, match=r"grpc://127\.0\.0\.1:1 cannot be reached; start it"):
        warm_up(model, entry)


def test_not_ready_there(make_entry, upstream):
    upstream.ready = False
    with pytest.raises(ModelNotReady, match="says that model 'm' is not ready"):
        warm_up(load(make_entry(), "cpu"), make_entry())


def test_other_tensors_there(make_entry, upstream):
    upstream.metadata.outputs.add(name="scores", datatype="FP32", shape=[-1, 2])
    with pytest.raises(ModelFailed, match=r"no output 'y' of FP32; it tells of scores FP32"):
        warm_up(load(make_entry(), "cpu"), make_entry())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("format: remote\n", "format remote needs the section `remote`"),
        ("format: onnx\nremote: {url: 'grpc://a:1'}\n", "no other format has it"),
        ("format: remote\nremote: {url: 'file:///etc/passwd'}\n", "remote.url"),
        (
            "format: remote\nremote: {url: 'grpc://a:1'}\nguards: [{name: mahalanobis}]\n",
            "mahalanobis needs features",
        ),
    ],
)
def test_wrong_configurations(tmp_path, text, why):
    (tmp_path / "m").mkdir()
    tensors = CONFIG.partition("inputs")[2].format()
    (tmp_path / "m" / "model.yaml").write_text(f"{text}inputs{tensors}")
    with pytest.raises(ConfigError, match=why):
        ModelRepository(tmp_path).get("m")
