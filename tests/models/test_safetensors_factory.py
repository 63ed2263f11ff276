import shutil
import sys

import numpy as np
import pytest

from serving.config import ConfigError
from serving.models.loader import load
from serving.models.manifest import write_manifest
from serving.models.repository import ModelEntry

X = np.ones((2, 3), np.float32)


def untrusted(entry):
    # The configuration refuses this itself; the loader does not rely on that.
    config = entry.config.model_copy(update={"trust_code": False})
    return ModelEntry(entry.name, entry.version, entry.directory, config)


def rewrite(entry, source, listed=True):
    (entry.directory / "net.py").write_text(source)
    if listed:
        write_manifest(entry.directory, ["model.safetensors", "net.py"])


def test_loads_and_predicts(make_factory_model):
    model = load(make_factory_model(), "cpu")
    assert model.predict({"x": X})["y"].shape == (2, 2)
    assert not model.capabilities.features
    assert model.capabilities.differentiable


def test_code_is_not_run_without_trust(make_factory_model, tmp_path):
    entry = make_factory_model()
    witness = tmp_path / "ran"
    rewrite(entry, f"open({str(witness)!r}, 'w')")
    with pytest.raises(ConfigError, match="trust_code: true"):
        load(untrusted(entry), "cpu")
    assert not witness.exists()


def test_changed_code_is_not_run(make_factory_model, tmp_path):
    entry = make_factory_model()
    witness = tmp_path / "ran"
    rewrite(entry, f"open({str(witness)!r}, 'w')", listed=False)
    with pytest.raises(ConfigError, match=r"net\.py: its SHA-256"):
        load(entry, "cpu")
    assert not witness.exists()


def test_changed_weights_are_refused(make_factory_model):
    entry = make_factory_model()
    content = bytearray(entry.weights.read_bytes())
    content[-1] ^= 1
    entry.weights.write_bytes(content)
    with pytest.raises(ConfigError, match=r"model\.safetensors: its SHA-256"):
        load(entry, "cpu")


def test_each_load_has_a_module_of_its_own_and_no_compiled_file(make_factory_model):
    entries = [make_factory_model(f"return self.linear(x) * {n}", name=f"m{n}") for n in (1, 2)]
    one, two = (load(entry, "cpu").predict({"x": X})["y"] for entry in entries)
    np.testing.assert_allclose(two, one * 2)
    assert "net" not in sys.modules
    assert not list(entries[0].directory.glob("__pycache__"))


def test_source_may_lie_in_the_models_folder(make_factory_model):
    entry = make_factory_model()
    shutil.move(entry.directory / "net.py", entry.directory.parent / "net.py")
    assert load(entry, "cpu").predict({"x": X})["y"].shape == (2, 2)


def test_missing_source(make_factory_model):
    entry = make_factory_model()
    (entry.directory / "net.py").unlink()
    with pytest.raises(ConfigError, match=r"net\.py: missing"):
        load(entry, "cpu")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("def build(: pass", "SyntaxError"),
        ("import nothing_of_that_name", "ModuleNotFoundError"),
        ("", "has no attribute 'build'"),
        ("def build(): return 1", "must return a torch"),
        ("def build(): raise RuntimeError('sorry')", "RuntimeError: sorry"),
        ("import torch\ndef build(): return torch.nn.Linear(4, 2)", "Missing key"),
    ],
)
def test_broken_factories_are_named(make_factory_model, source, says):
    entry = make_factory_model()
    rewrite(entry, source)
    before = set(sys.modules)
    with pytest.raises(ConfigError, match=says):
        load(entry, "cpu")
    if "SyntaxError" in says:
        assert set(sys.modules) == before


@pytest.mark.parametrize("factory", ["net", "net:", "../net:build", "a.b:build", "net:x.y"])
def test_malformed_factory(make_factory_model, factory):
    entry = make_factory_model()
    config = entry.config.model_copy(update={"factory": factory})
    with pytest.raises(ConfigError, match="must be `module:function`"):
        load(ModelEntry("toy", "1", entry.directory, config), "cpu")


def test_damaged_weights(make_factory_model):
    entry = make_factory_model()
    entry.weights.write_bytes(b"not safetensors")
    write_manifest(entry.directory, ["model.safetensors", "net.py"])
    with pytest.raises(ConfigError, match=r"model\.safetensors: "):
        load(entry, "cpu")
