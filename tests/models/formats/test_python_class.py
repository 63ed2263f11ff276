import json

import numpy as np
import pytest
from typer.testing import CliRunner

from serving.cli import app
from serving.config import ConfigError
from serving.errors import InvalidInput, ModelFailed, Unsupported
from serving.models.export import save_files
from serving.models.formats.loader import load
from serving.models.repository.folder import ModelEntry, ModelRepository

X = np.arange(6, dtype=np.float32).reshape(2, 3)
CONFIG = """
format: python
factory: model:build
trust_code: true
inputs: [{name: x, datatype: FP32, shape: [-1, 3]}]
outputs: [{name: y, datatype: FP32, shape: [-1, 2]}]
"""
SOURCE = """
from pathlib import Path

class Doubling:
    gain = int((Path(__file__).parent / "gain.txt").read_text())

    def predict(self, inputs):
        x = inputs["x"]
        {body}

def build():
    return Doubling()
"""


@pytest.fixture
def make(tmp_path):
    def build(body="return {'y': x[:, :2] * self.gain}", source="", config=CONFIG):
        folder = tmp_path / "models" / "coded"
        (folder / "1").mkdir(parents=True)
        (folder / "model.yaml").write_text(config)
        (tmp_path / "gain.txt").write_text("2")
        (tmp_path / "model.py").write_text(source or SOURCE.format(body=body))
        save_files(folder / "1", tmp_path / "model.py", tmp_path / "gain.txt")
        return ModelRepository(tmp_path / "models").get("coded")

    return build


def test_predicts_and_reads_what_lies_beside_it(make):
    model = load(make(), "cpu")
    np.testing.assert_array_equal(model.predict({"x": X})["y"], X[:, :2] * 2)
    assert model.predict({"x": X[:0]})["y"].shape == (0, 2)
    assert not any((model.capabilities.features, model.capabilities.module))


def test_what_it_lacks_is_said(make):
    model = load(make(), "cpu")
    with pytest.raises(Unsupported, match="gives no features"):
        model.predict_with_features({"x": X})
    with pytest.raises(Unsupported, match="format python has no gradients"):
        model.module()


def test_features_by_a_method_of_their_own(make):
    source = """
class WithFeatures:
    def predict(self, inputs):
        return {"y": inputs["x"][:, :2]}

    def predict_with_features(self, inputs):
        return {**self.predict(inputs), "features": inputs["x"] * 2.0}

build = WithFeatures
"""
    prediction = load(make(source=source), "cpu").predict_with_features({"x": X})
    np.testing.assert_array_equal(prediction.features, X * 2)
    assert prediction.features.dtype == np.float32
    np.testing.assert_array_equal(prediction.outputs["y"], X[:, :2])


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("return {'z': x}", r"it returned 'z', model\.yaml declares 'y'"),
        ("return {}", "it returned nothing"),
        ("return x", "it returned a ndarray, not arrays by name"),
        ("return {'y': 1}", "output 'y' is a int, not an array"),
        ("return {'y': x[:, :2].astype('f8')}", r"has float64, model\.yaml declares FP32"),
        ("return {'y': x}", r"has shape \[2, 3\] for 2 rows, model\.yaml declares \[-1, 2\]"),
        ("return {'y': x[:1, :2]}", r"has shape \[1, 2\] for 2 rows"),
        ("return {'y': x[0]}", r"has shape \[3\]"),
        ("return {'y': x.astype(str).astype(object)[:, :2]}", r"has object, model\.yaml declares"),
        ("raise ValueError('no such\\n   thing')", "ValueError: no such thing"),
        ("x[:] = 0", "read-only"),
    ],
)
def test_what_goes_wrong_is_named(make, body, says):
    x = X.copy()
    with pytest.raises(ModelFailed, match=f"^model 'coded' failed: .*{says}"):
        load(make(body), "cpu").predict({"x": x})
    np.testing.assert_array_equal(x, X)


@pytest.mark.parametrize(
    "error", ["SystemExit(3)", "GeneratorExit()", "asyncio.CancelledError()", "Panic('lost')"]
)
def test_what_ends_a_process_elsewhere_is_its_failure(make, error):
    source = f"""
import asyncio

class Panic(BaseException):
    pass

class Leaving:
    def predict(self, inputs):
        raise {error}

build = Leaving
"""
    kind = error.partition("(")[0].rpartition(".")[2]
    with pytest.raises(ModelFailed, match=f"failed: {kind}: "):
        load(make(source=source), "cpu").predict({"x": X})


@pytest.mark.parametrize(
    ("body", "kind", "told"),
    [
        ("return {f'Anna {n}': x for n in range(99)}", "OutputMissing", "no output 'y'"),
        (
            "from serving.errors import ModelFailed; raise ModelFailed('Anna 4711')",
            "serving.errors.ModelFailed",
            "",
        ),
    ],
)
def test_what_it_returns_or_says_is_not_for_the_log(make, body, kind, told):
    with pytest.raises(ModelFailed, match="Anna") as caught:
        load(make(body), "cpu").predict({"x": X})
    cause = caught.value.cause
    assert cause.type == kind
    assert told in cause.told
    assert "Anna" not in cause.told
    assert caught.value.message.count("Anna") <= 10


def test_an_interrupt_ends_the_process(make):
    with pytest.raises(KeyboardInterrupt):
        load(make("raise KeyboardInterrupt"), "cpu").predict({"x": X})


@pytest.mark.parametrize("text", ["x must be positive", "x\\nmust be " + "9" * 9999])
def test_it_may_refuse_what_it_is_given(make, text):
    body = f"from serving.errors import InvalidInput\n        raise InvalidInput('{text}')"
    with pytest.raises(InvalidInput, match=r"^x.*must be") as caught:
        load(make(body), "cpu").predict({"x": X})
    assert caught.value.message.isprintable()
    assert len(caught.value.message) <= 500


def test_an_index_error_is_its_own_fault(make):
    with pytest.raises(ModelFailed, match="IndexError: index 9 is out of bounds"):
        load(make("return x[9]"), "cpu").predict({"x": X})


def test_results_stay_what_they_are_when_their_memory_is_used_again(make):
    source = """
import numpy as np

class Thrifty:
    def __init__(self):
        self.y = np.empty((8, 2), np.float32)
        self.features = np.empty((8, 3), np.float32)

    def predict_with_features(self, inputs):
        x = inputs["x"]
        np.multiply(x[:, :2], 2, out=self.y[: len(x)])
        np.copyto(self.features[: len(x)], x)
        return {"y": self.y[: len(x)], "features": self.features[: len(x)]}

    predict = predict_with_features

build = Thrifty
"""
    model = load(make(source=source), "cpu")
    first = model.predict_with_features({"x": X})
    model.predict({"x": X + 1})
    np.testing.assert_array_equal(first.outputs["y"], X[:, :2] * 2)
    np.testing.assert_array_equal(first.features, X)


@pytest.mark.parametrize(
    "kind", ["y.view(np.matrix)", "np.ma.masked_invalid(y)", "y.T.copy().T", "y[::-1][::-1]"]
)
def test_other_kinds_of_arrays_become_plain_ones(make, kind):
    model = load(make(f"import numpy as np; y = x[:, :2] * 2; return {{'y': {kind}}}"), "cpu")
    y = model.predict({"x": X})["y"]
    assert type(y) is np.ndarray
    np.testing.assert_array_equal(y, X[:, :2] * 2)


def test_text_must_be_bytes(make):
    config = CONFIG.replace("name: y, datatype: FP32", "name: y, datatype: BYTES")
    entry = make("return {'y': x.astype(str).astype(object)[:, :2]}", config=config)
    with pytest.raises(ModelFailed, match="output 'y' holds a str; BYTES are bytes"):
        load(entry, "cpu").predict({"x": X})


@pytest.mark.parametrize(
    "features", ["{}", "{'features': [[1.0]]}", "{'features': x[0]}", "{'features': x.astype('U')}"]
)
def test_wrong_features_are_the_models_failure(make, features):
    source = f"""
class Wrong:
    def predict(self, inputs):
        return {{"y": inputs["x"][:, :2]}}

    def predict_with_features(self, inputs):
        x = inputs["x"]
        return {{**self.predict(inputs), **{features}}}

build = Wrong
"""
    with pytest.raises(ModelFailed, match=r"features must be one array of numbers \[rows, width\]"):
        load(make(source=source), "cpu").predict_with_features({"x": X})


def test_needs_trust_and_factory(make):
    with pytest.raises(ConfigError, match="needs `factory` and, because that is code"):
        make(config=CONFIG.replace("trust_code: true", ""))


def test_code_is_not_run_without_trust(make, tmp_path):
    entry = make(source=f"open({str(tmp_path / 'ran')!r}, 'w')")
    config = entry.config.model_copy(update={"trust_code": False})
    with pytest.raises(ConfigError, match="trust_code: true"):
        load(ModelEntry(entry.name, entry.version, entry.directory, config), "cpu")
    assert not (tmp_path / "ran").exists()


def test_any_changed_file_is_refused(make):
    entry = make()
    (entry.directory / "gain.txt").write_text("3")
    with pytest.raises(ConfigError, match=r"gain\.txt: its SHA-256"):
        load(entry, "cpu")


def test_must_have_a_predict(make):
    with pytest.raises(ConfigError, match="must return an object with a method predict"):
        load(make(source="def build(): return 1"), "cpu")


def test_missing_source(make):
    entry = make()
    entry.weights.unlink()
    with pytest.raises(ConfigError, match=r"model\.py: missing; `factory` in model\.yaml names"):
        ModelRepository(entry.directory.parents[1]).get("coded")


def test_check_tells_what_fits_and_what_does_not(make):
    entry = make("return {'z': x}")
    models = entry.directory.parents[1]
    folder = entry.directory.parent
    config = (folder / "model.yaml").read_text()
    command = ["check", "--models", str(models)]
    done = CliRunner().invoke(app, command)  # without an example: a row of zeros
    assert done.exit_code == 1
    assert "declares 'y'" in " ".join(done.stderr.split())
    request = {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}
    (folder / "example.json").write_text(json.dumps(request))
    (folder / "model.yaml").write_text(config + "example: example.json\n")
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 1
    told = " ".join(done.stderr.split())
    assert "model 'coded' failed: it returned 'z', model.yaml declares 'y'" in told
