import pickle

import joblib
import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from typer.testing import CliRunner

from serving.cli import app
from serving.config import ConfigError
from serving.models.convert import convert_pickle
from serving.models.formats.loader import load
from serving.models.repository.folder import ModelRepository

X, Y = load_iris(return_X_y=True)
SKLEARN = """
format: sklearn
inputs: [{name: x, datatype: FP32, shape: [-1, 4]}]
outputs: [{name: y, datatype: FP32, shape: [-1, 3]}]
"""
TORCH = SKLEARN.replace("sklearn", "safetensors\nfactory: net:build\ntrust_code: true")
NET = "import torch\ndef build(): return torch.nn.Linear(4, 3)\n"


def served(folder, config):
    (folder / "model.yaml").write_text(config)
    return load(ModelRepository(folder.parent).get(folder.name), "cpu")


def convert(file, into):
    return list(convert_pickle(file, into, trust_code=True))


@pytest.mark.parametrize(("name", "dump"), [("m.pkl", pickle.dump), ("m.joblib", joblib.dump)])
def test_estimators_become_skops(tmp_path, name, dump):
    pytest.importorskip("skops", reason="needs skops, from vigil[sklearn]")
    fitted = LogisticRegression(max_iter=1000).fit(X, Y)
    with (tmp_path / name).open("wb") as file:
        dump(fitted, file)
    lines = convert(tmp_path / name, tmp_path / "models" / "iris" / "1")
    assert "model.skops" in lines[0]
    assert lines[1] == "serve it with `format: sklearn`"
    found = served(tmp_path / "models" / "iris", SKLEARN).predict({"x": X.astype(np.float32)})
    np.testing.assert_allclose(found["y"], fitted.predict_proba(X), rtol=1e-4, atol=1e-6)


def test_torch_weights_become_safetensors(tmp_path):
    net = torch.nn.Linear(4, 3)
    torch.save(net.state_dict(), tmp_path / "m.pth")
    folder = tmp_path / "models" / "net"
    lines = convert(tmp_path / "m.pth", folder / "1")
    assert "model.safetensors" in lines[0]
    (folder / "net.py").write_text(NET)
    x = X.astype(np.float32)
    expected = net(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(served(folder, TORCH).predict({"x": x})["y"], expected, rtol=1e-5)


class Witness:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_pickle_is_not_read_without_trust(tmp_path):
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(Witness(tmp_path / "ran")))
    with pytest.raises(ConfigError, match="runs whatever code it holds; give --trust-code"):
        list(convert_pickle(tmp_path / "m.pkl", tmp_path, trust_code=False))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("m.txt", b"", r"its name must end in \.pt, \.pth, \.pkl, \.pickle, \.joblib,"),
        ("m.pkl", pickle.dumps([1]), "holds a list, not a scikit-learn estimator"),
        ("m.pkl", b"junk", "cannot be read"),
        ("m.pt", b"junk", "cannot be read"),
    ],
)
def test_what_cannot_be_converted_is_named(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=says):
        convert(tmp_path / name, tmp_path)
    assert not (tmp_path / "manifest.json").exists()


def test_nothing_is_overwritten(tmp_path):
    torch.save(torch.nn.Linear(4, 3).state_dict(), tmp_path / "m.pt")
    convert(tmp_path / "m.pt", tmp_path)
    with pytest.raises(ConfigError, match=r"model\.safetensors: is there already"):
        convert(tmp_path / "m.pt", tmp_path)


def test_the_command(tmp_path):
    torch.save(torch.nn.Linear(4, 3).state_dict(), tmp_path / "m.pt")
    done = CliRunner().invoke(app, ["convert", str(tmp_path / "m.pt"), "--trust-code"])
    assert done.exit_code == 0
    assert "model.safetensors and" in done.output
    refused = CliRunner().invoke(app, ["convert", str(tmp_path / "m.pt")])
    assert isinstance(refused.exception, ConfigError)
