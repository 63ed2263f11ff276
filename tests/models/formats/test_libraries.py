import subprocess
import sys

import pytest

from serving.config import ConfigError, Library
from serving.config.formats import listed
from serving.models.formats.libraries import import_before_fork, require

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
