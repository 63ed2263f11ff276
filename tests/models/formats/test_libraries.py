import subprocess
import sys

import pytest

from serving.config import ConfigError, Library
from serving.config.formats import listed
from serving.models.formats import libraries
from serving.models.formats.libraries import import_before_fork, import_for_code, require

FORKED = """
import sys
from serving.config.formats.listed import names_of
from serving.models.formats.libraries import import_before_fork
for name in names_of():
    import_before_fork(name)
print(*(name for name in sys.modules if "." not in name))
"""


def test_what_starts_threads_is_left_to_each_process():
    finished = subprocess.run(
        [sys.executable, "-c", FORKED], capture_output=True, text=True, check=True
    )
    loaded = set(finished.stdout.split())
    assert "torch" in loaded
    assert loaded & {"grpc", "onnxruntime"} == set()


def test_what_cannot_be_imported_is_left_to_whoever_loads_a_model(monkeypatch):
    for module in listed.format_named("sklearn").before_fork:
        monkeypatch.setitem(sys.modules, module, None)
    import_before_fork("sklearn")


def test_a_missing_library_is_one_sentence():
    require(Library("json", "JSON", "json"), "format any")
    with pytest.raises(ConfigError) as caught:
        require(Library("no_such_library", "the Library", "more"), "model 'm': format any")
    assert caught.value.message == ("model 'm': format any needs the Library; install vigil[more]")


@pytest.mark.parametrize(
    ("code", "wanted"),
    [
        ("import torch\n", True),
        ("import numpy\nfrom torch.nn import Linear\n", True),
        ("def build():\n    import torch.nn as nn\n", True),
        ("from transformers import pipeline\n", True),
        ("import torchless\n", False),
        ("# import torch\nTEXT = 'import torch'\n", False),
        ("import numpy\n", False),
        (None, False),
    ],
)
@pytest.mark.parametrize("shared", [False, True])
def test_torch_is_imported_where_a_models_own_code_does(
    tmp_path, monkeypatch, code, wanted, shared
):
    monkeypatch.setattr(libraries.importlib, "import_module", (imported := []).append)
    version = tmp_path / "m" / "1"
    version.mkdir(parents=True)
    if code is not None:
        (version.parent if shared else version).joinpath("net.py").write_text(code)
    assert import_for_code("net:build", version) is wanted
    assert imported == ["torch"] * wanted


def test_code_that_cannot_be_read_or_a_torch_that_cannot_be_imported_is_left_to_the_loader(
    tmp_path, monkeypatch
):
    (tmp_path / "1" / "net.py").mkdir(parents=True)
    assert not import_for_code("net:build", tmp_path / "1")
    (tmp_path / "net.py").write_text("import torch")
    monkeypatch.setitem(sys.modules, "torch", None)
    assert not import_for_code("net:build", tmp_path / "1")


def test_roles_need_no_torch():
    code = "import sys, serving.explaining.role, serving.replica.role; print(*sys.modules)"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "serving.replica.role" in finished.stdout.split(), finished.stderr
    assert "torch" not in finished.stdout.split()
