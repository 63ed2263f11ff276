import json
import struct

import numpy as np
import pytest

from serving.config import ConfigError
from serving.models.formats.loader import load
from serving.models.repository.manifest import write_manifest

X = np.ones((2, 3), np.float32)


def rewrite(entry, source):
    (entry.directory / "net.py").write_text(source)
    write_manifest(entry.directory, ["model.safetensors", "net.py"])


def test_loads_and_predicts(make_factory_model):
    model = load(make_factory_model(), "cpu")
    assert model.predict({"x": X})["y"].shape == (2, 2)
    assert not model.capabilities.features
    assert model.capabilities.differentiable


def test_changed_weights_are_refused(make_factory_model):
    entry = make_factory_model()
    content = bytearray(entry.weights.read_bytes())
    content[-1] ^= 1
    entry.weights.write_bytes(content)
    with pytest.raises(ConfigError, match=r"model\.safetensors: its SHA-256"):
        load(entry, "cpu")


def test_models_whose_files_have_one_name_do_not_meet(make_factory_model):
    entries = [make_factory_model(f"return self.linear(x) * {n}", name=f"m{n}") for n in (1, 2)]
    one, two = (load(entry, "cpu").predict({"x": X})["y"] for entry in entries)
    np.testing.assert_allclose(two, one * 2)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("def build(): return 1", "must return a torch"),
        ("import torch\ndef build(): return torch.nn.Linear(4, 2)", "Missing key"),
    ],
)
def test_a_factory_of_something_else_is_named(make_factory_model, source, says):
    entry = make_factory_model()
    rewrite(entry, source)
    with pytest.raises(ConfigError, match=says):
        load(entry, "cpu")


def test_damaged_weights(make_factory_model):
    entry = make_factory_model()
    entry.weights.write_bytes(b"not safetensors")
    write_manifest(entry.directory, ["model.safetensors", "net.py"])
    with pytest.raises(ConfigError, match=r"model\.safetensors: "):
        load(entry, "cpu")


WEIGHT = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
BIAS = {"dtype": "F32", "shape": [2], "data_offsets": [24, 32]}


def hostile(header=None, data=bytes(32), length=None, **bias):
    """A file like that of `Toy`, with another header, length of the header, data or bias."""
    header = header or {"linear.weight": WEIGHT, "linear.bias": {**BIAS, **bias}}
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


HOSTILE = {
    "empty": b"",
    "two-bytes": b"\1\2",
    "length-0": hostile(length=0),
    "length-inside-the-header": hostile(length=10),
    "length-beyond-the-file": hostile(length=10_000),
    "length-over-100-MB": hostile(length=100_000_001),
    "length-2**63": hostile(length=2**63),
    "length-2**64-1": hostile(length=2**64 - 1),
    "no-json": hostile(b"x" * 50),
    "no-object": hostile(b"[]"),
    "not-utf-8": hostile(b'{"\xff":1}'),
    "deep": hostile(b'{"a":' * 100_000),
    "offsets-beyond-the-data": hostile(data_offsets=[24, 10**6]),
    "offsets-2**63": hostile(data_offsets=[24, 2**63]),
    "offsets-2**64": hostile(data_offsets=[24, 2**64]),
    "offsets-negative": hostile(data_offsets=[-8, 0]),
    "offsets-swapped": hostile(data_offsets=[32, 24]),
    "offsets-overlap": hostile(data_offsets=[0, 8]),
    "offsets-with-a-hole": hostile(data_offsets=[28, 36], data=bytes(36)),
    "data-cut": hostile(data=bytes(31)),
    "data-left-over": hostile(data=bytes(33)),
    "shape-needs-more": hostile(shape=[3]),
    "shape-wraps-to-0": hostile(shape=[2**32, 2**32, 16]),
    "shape-wraps-to-2": hostile(shape=[2**63 + 1, 2]),
    "shape-negative": hostile(shape=[-1, -2]),
    "shape-of-another-module": hostile(shape=[1, 2]),
    "datatype-unknown": hostile(dtype="F31"),
    "datatype-torch-lacks": hostile(dtype="F6_E2M3", data_offsets=[24, 27], shape=[4]),
    "datatype-integers": hostile(dtype="I32"),
    "datatype-bool": hostile(dtype="BOOL", data_offsets=[24, 26], data=bytes(26)),
    "datatype-complex": hostile(dtype="C64", data_offsets=[24, 40], data=bytes(40)),
    "names-of-escapes": hostile({"linear.weight": WEIGHT, "\x1b[31m\n" + "x" * 5000: BIAS}),
    "names-by-the-thousand": hostile(
        {f"w{n}": {**WEIGHT, "shape": [0], "data_offsets": [0, 0]} for n in range(5000)}, b""
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_weights_that_lie_are_refused_in_one_sentence(make_factory_model, case):
    entry = make_factory_model()
    entry.weights.write_bytes(HOSTILE[case])
    write_manifest(entry.directory, ["model.safetensors", "net.py"])
    with pytest.raises(ConfigError, match=r"model\.safetensors: \S") as caught:
        load(entry, "cpu")
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 1000


def test_what_the_lies_were_made_of_loads(make_factory_model):
    entry = make_factory_model()
    entry.weights.write_bytes(hostile())
    write_manifest(entry.directory, ["model.safetensors", "net.py"])
    assert not load(entry, "cpu").predict({"x": X})["y"].any()


def test_narrower_weights_are_widened(make_factory_model):
    entry = make_factory_model()
    entry.weights.write_bytes(hostile(dtype="F16", data_offsets=[24, 28], data=bytes(28)))
    write_manifest(entry.directory, ["model.safetensors", "net.py"])
    assert load(entry, "cpu").predict({"x": X})["y"].dtype == np.float32


def test_a_module_without_numbers_is_refused(make_factory_model):
    entry = make_factory_model()
    rewrite(entry, "import torch\ndef build(): return torch.nn.Linear(3, 2, device='meta')")
    with pytest.raises(ConfigError, match=r"model\.safetensors: "):
        load(entry, "cpu")
