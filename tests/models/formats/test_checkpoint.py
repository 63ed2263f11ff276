"""Weights that `torch.save` pickled become safetensors, wherever in the checkpoint they are."""

import io
import warnings
import zipfile

import pytest
import torch
from safetensors.torch import load_file

from serving.config import ConfigError
from serving.models.formats.checkpoint import to_safetensors

WEIGHTS = {"linear.weight": torch.arange(6.0).reshape(2, 3), "linear.bias": torch.ones(2)}


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 2)
        self.load_state_dict(WEIGHTS)


@pytest.fixture
def convert(tmp_path):
    def convert(value):
        file = tmp_path / "m.pt"
        if isinstance(value, bytes):
            file.write_bytes(value)
        else:
            torch.save(value, file)
        notes = to_safetensors(file, tmp_path / "model.safetensors")
        return notes, load_file(tmp_path / "model.safetensors")

    return convert


@pytest.mark.parametrize(
    "value",
    [
        WEIGHTS,
        Net(),
        {"epoch": 3, "state_dict": WEIGHTS},
        {"epoch": 3, "model_state_dict": WEIGHTS, "optimizer_state_dict": {"lr": 0.1}},
        {"epoch": 3, "model": WEIGHTS},
        {"state_dict": {"model": WEIGHTS}},
    ],
    ids=["weights", "module", "state_dict", "model_state_dict", "model", "nested"],
)
def test_the_weights_are_found(convert, value):
    notes, found = convert(value)
    assert found.keys() == WEIGHTS.keys()
    assert all(torch.equal(found[name], WEIGHTS[name]) for name in WEIGHTS)
    (note,) = notes
    assert note.startswith("serve it with `format: safetensors`, `factory: net:build`")


def test_files_of_old_releases_of_torch_are_read(convert):
    old = io.BytesIO()
    torch.save(WEIGHTS, old, _use_new_zipfile_serialization=False)
    assert convert(old.getvalue())[1].keys() == WEIGHTS.keys()


def test_a_tensor_that_is_called_model_is_a_weight(convert):
    assert convert({"model": torch.ones(1)})[1].keys() == {"model"}


def test_torchscript_is_told_its_format(convert):
    archive = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(torch.nn.Linear(4, 3)), archive)
    with pytest.raises(ConfigError, match=r"m\.pt: is a TorchScript.*as format torchscript"):
        convert(archive.getvalue())


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"a": 1}, "'a' is no tensor"),
        ({"state_dict": {**WEIGHTS, "epoch": 3}}, "'epoch' is no tensor"),
        (torch.ones(1), "holds a Tensor, no weights"),
        ({}, "holds a dict, no weights"),
        ({"state_dict": {}}, "holds a dict, no weights"),
        (torch.nn.ReLU(), "holds a ReLU, no weights"),
    ],
)
def test_what_holds_no_weights_is_named(convert, tmp_path, value, says):
    with pytest.raises(ConfigError, match=rf"m\.pt: .*{says}"):
        convert(value)
    assert not (tmp_path / "model.safetensors").exists()


def no_torch_archive():
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("hello.txt", "hello")
    return archive.getvalue()


def cut_archive():
    """The end of an archive: what says that it is one, and nothing of its directory."""
    return b"x" * 50 + no_torch_archive()[-22:]


class Leaves:
    def __reduce__(self):
        return exec, ("raise SystemExit(3)",)


def test_a_pickle_that_leaves_cannot_be_read(convert):
    with pytest.raises(ConfigError, match=r"m\.pt: cannot be read: SystemExit: 3"):
        convert({"a": Leaves()})


@pytest.mark.parametrize(
    "content", [b"junk", b"", no_torch_archive(), cut_archive()],
    ids=["junk", "empty", "another archive", "cut archive"],
)  # fmt: skip
def test_damaged_files_are_named(convert, tmp_path, content):
    with pytest.raises(ConfigError, match=r"m\.pt: cannot be read: ") as caught:
        convert(content)
    assert len(caught.value.message) < 1000
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize(
    "make",
    [
        lambda: {0: torch.ones(2)},
        lambda: {"\ud800": torch.ones(2)},
        lambda: {"a": torch.ones(2).to_sparse()},
        lambda: {"a": torch.ones(2, device="meta")},
        lambda: {"a": torch.ones(2, dtype=torch.complex128)},
        lambda: torch.nn.LazyLinear(3),
    ],
    ids=["number", "surrogate", "sparse", "meta", "complex128", "lazy"],
)
def test_tensors_that_safetensors_cannot_hold_are_named(convert, tmp_path, make):
    with pytest.raises(ConfigError, match=r"m\.pt: its weights do not fit safetensors") as caught:
        convert(make())
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 1000
    assert not (tmp_path / "model.safetensors").exists()
