"""The list of formats, and that nothing beside it knows one by name."""

import ast
import importlib
import inspect
from pathlib import Path
from pkgutil import resolve_name

import pytest

import serving
from serving.config.formats.listed import FORMATS, format_named, names_of

ROOT = Path(serving.__file__).parent
ELSEWHERE = {
    ("models/export.py", "safetensors"),  # writes versions of these two
    ("models/export.py", "torch_export"),
    ("remote/discovery/generate.py", "remote"),  # writes a model.yaml
    ("demo/build.py", "safetensors"),  # a library of that name
    ("telemetry/metrics/process.py", "python"),  # the interpreter
}


def test_names_in_the_list_are_unique():
    assert len(set(names_of())) == len(FORMATS)


def test_one_file_is_recognised_as_one_format():
    files = [each.weights for each in FORMATS if each.weights]
    assert len(set(files)) == len(files)
    suffixes = [
        suffix for each in FORMATS if each.conversion for suffix in each.conversion.suffixes
    ]
    assert len(set(suffixes)) == len(suffixes)


@pytest.mark.parametrize("name", names_of())
def test_what_an_entry_points_at_is_there(name):
    kind = format_named(name)
    assert len(inspect.signature(resolve_name(kind.load)).parameters) == 2
    if kind.signature:
        assert len(inspect.signature(resolve_name(kind.signature)).parameters) == 1
    if kind.may_use_gpu:
        assert not inspect.signature(resolve_name(kind.may_use_gpu)).parameters
    if kind.conversion:
        assert len(inspect.signature(resolve_name(kind.conversion.write)).parameters) == 2
    if kind.library:
        reason = f"needs {kind.library.called}, from vigil[{kind.library.extra}]"
        pytest.importorskip(kind.library.module, reason=reason)
    for module in kind.before_fork:
        importlib.import_module(module)


def test_a_name_that_is_not_listed():
    with pytest.raises(KeyError, match="pickle"):
        format_named("pickle")


def test_nothing_else_knows_a_format_by_name():
    found, names = set(), names_of()
    for path in ROOT.rglob("*.py"):
        where = path.relative_to(ROOT).as_posix()
        if where == "config/formats/listed.py":
            continue
        text = path.read_text()
        if not any(name in text for name in names):  # most files need not be parsed
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Constant) and node.value in names:
                found.add((where, node.value))
    assert found == ELSEWHERE
