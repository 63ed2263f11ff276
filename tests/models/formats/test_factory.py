"""Code that `model.yaml` names: run only if it is trusted and unchanged, each time anew."""

import os
import pickle
import shutil
import sys
import traceback

import pytest

from serving.config import ConfigError
from serving.models.formats.factory import require_trust, run_factory
from serving.models.repository.folder import ModelEntry
from serving.models.repository.manifest import write_manifest


def configured(entry, **changes):
    # The configuration refuses some of this itself; the factory does not rely on that.
    config = entry.config.model_copy(update=changes)
    return ModelEntry(entry.name, entry.version, entry.directory, config)


def rewrite(entry, source, listed=True):
    content = source if isinstance(source, bytes) else source.encode()
    (entry.directory / "net.py").write_bytes(content)
    if listed:
        write_manifest(entry.directory, ["model.safetensors", "net.py"])


@pytest.fixture
def entry(make_factory_model):
    return make_factory_model()


def test_code_is_not_run_without_trust(entry, tmp_path):
    witness = tmp_path / "ran"
    rewrite(entry, f"open({str(witness)!r}, 'w')")
    with pytest.raises(ConfigError, match=r"format safetensors runs.*set `trust_code: true`"):
        run_factory(configured(entry, trust_code=False))
    assert not witness.exists()


def test_what_needs_trust_is_named(entry):
    require_trust(entry, "it runs code")
    with pytest.raises(ConfigError, match="model 'toy': it runs code; set `trust_code: true`"):
        require_trust(configured(entry, trust_code=False), "it runs code")


def test_changed_code_is_not_run(entry, tmp_path):
    witness = tmp_path / "ran"
    rewrite(entry, f"open({str(witness)!r}, 'w')", listed=False)
    with pytest.raises(ConfigError, match=r"net\.py: its SHA-256"):
        run_factory(entry)
    assert not witness.exists()


def test_each_run_has_a_module_of_its_own_and_no_compiled_file(entry):
    rewrite(entry, "class Net: pass\nbuild = Net")
    (_, one), (_, two) = run_factory(entry), run_factory(entry)
    assert type(one) is not type(two)
    assert "net" not in sys.modules
    assert not list(entry.directory.glob("__pycache__"))


def test_dataclasses_and_pickles_find_their_module(entry):
    rewrite(
        entry,
        "from __future__ import annotations\n"
        "from dataclasses import KW_ONLY, dataclass\n"
        "@dataclass\n"
        "class Net:\n"
        "    _: KW_ONLY\n"
        "    rows: int = 3\n"
        "build = Net\n",
    )
    _, net = run_factory(entry)
    assert pickle.loads(pickle.dumps(net)) == net


def test_the_code_knows_its_file_and_so_do_tracebacks(entry):
    rewrite(entry, "def fail(): raise ValueError('no')\ndef build(): return __file__, fail")
    path, (file, fail) = run_factory(entry)
    assert path == entry.directory / "net.py"
    assert file == str(path)
    with pytest.raises(ValueError, match="no") as caught:
        fail()
    frame = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (frame.filename, frame.name) == (str(path), "fail")


def test_source_may_lie_in_the_models_folder(entry):
    shared = entry.directory.parent / "net.py"
    shutil.move(entry.directory / "net.py", shared)
    shared.write_text("def build(): return 'shared'")
    assert run_factory(entry) == (shared, "shared")
    rewrite(entry, "def build(): return 'of the version'")
    assert run_factory(entry) == (entry.directory / "net.py", "of the version")


def test_missing_source(entry):
    (entry.directory / "net.py").unlink()
    with pytest.raises(ConfigError, match=r"1/net\.py: missing; `factory` in model\.yaml names"):
        run_factory(entry)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_shared_source_that_is_no_file_is_not_waited_for(entry, make):
    (entry.directory / "net.py").unlink()
    make(entry.directory.parent / "net.py")
    with pytest.raises(ConfigError, match=r"toy/net\.py: is no regular file"):
        run_factory(entry)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("def build(: pass", "SyntaxError"),
        ("import nothing_of_that_name", "ModuleNotFoundError"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("", "has no attribute 'build'"),
        ("def build(): raise RuntimeError('sorry')", "RuntimeError: sorry"),
        ("def build(): raise SystemExit(3)", "SystemExit: 3"),
        ("import sys; del sys.modules[__name__]; raise ValueError('gone')", "ValueError: gone"),
        ("build = 1", "TypeError: 'int' object is not callable"),
    ],
)
def test_broken_factories_are_named(entry, source, says):
    rewrite(entry, source)
    with pytest.raises(ConfigError, match=rf"net\.py: .*{says}"):
        run_factory(entry)


@pytest.mark.parametrize(
    "source",
    [
        "def build(: pass",
        "raise ValueError",
        "raise SystemExit",
        "",
        "build = 1",
        "def build(): raise ValueError",
        "def build(): raise SystemExit",
        "def build(): raise KeyboardInterrupt",
    ],
)
def test_nothing_stays_of_code_that_builds_nothing(entry, source):
    rewrite(entry, source)
    before = set(sys.modules)
    with pytest.raises((ConfigError, KeyboardInterrupt)):
        run_factory(entry)
    assert set(sys.modules) == before


@pytest.mark.parametrize(
    "source", ["raise KeyboardInterrupt", "def build(): raise KeyboardInterrupt"]
)
def test_an_interrupt_ends_the_process(entry, source):
    rewrite(entry, source)
    with pytest.raises(KeyboardInterrupt):
        run_factory(entry)


@pytest.mark.parametrize("factory", [None, "net", "net:", "../net:build", "a.b:build", "net:x.y"])
def test_malformed_factory(entry, factory):
    with pytest.raises(ConfigError, match="must be `module:function`"):
        run_factory(configured(entry, factory=factory))


BUILD = "def build(): return 'Grüße'\n"


@pytest.mark.parametrize("is_shared", [False, True], ids=["of the version", "shared"])
@pytest.mark.parametrize(
    "source",
    [
        BUILD.encode(),
        BUILD.encode("utf-8-sig"),
        f"# -*- coding: latin-1 -*-\n{BUILD}".encode("latin-1"),
        BUILD.replace("\n", "\r\n").encode(),
    ],
    ids=["UTF-8", "BOM", "declared", "CRLF"],
)
def test_source_is_decoded_as_python_does_it(entry, source, is_shared):
    rewrite(entry, source)
    if is_shared:
        shutil.move(entry.directory / "net.py", entry.directory.parent / "net.py")
    assert run_factory(entry)[1] == "Grüße"


@pytest.mark.parametrize("is_shared", [False, True], ids=["of the version", "shared"])
@pytest.mark.parametrize(
    "source", [b"\xff\xfe", BUILD.encode("latin-1"), b"# coding: nonsense\n", b"x = 1\0"]
)
def test_source_that_is_no_text_is_named(entry, source, is_shared):
    rewrite(entry, source)
    if is_shared:
        shutil.move(entry.directory / "net.py", entry.directory.parent / "net.py")
    with pytest.raises(ConfigError, match=r"net\.py: \w+Error: "):
        run_factory(entry)
