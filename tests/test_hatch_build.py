"""What may be compiled, and what a build says that cannot compile."""

import ast
import functools
import importlib.util
import sysconfig
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    found: dict[str, Any] = project["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]
    return found


@functools.lru_cache(maxsize=1)
def _nodes(path: Path) -> list[ast.AST]:
    """All nodes of a file, which is looked at more than once before the next."""
    return list(ast.walk(ast.parse(path.read_text())))


def _classes(path: Path) -> list[ast.ClassDef]:
    return [node for node in _nodes(path) if isinstance(node, ast.ClassDef)]


def _bases(one: ast.ClassDef) -> list[str]:
    return [ast.unparse(base).partition("[")[0] for base in one.bases]


def test_nothing_is_compiled_unless_asked_for(config: dict[str, Any]) -> None:
    assert config["enable-by-default"] is False


def test_no_struct_is_compiled(hook: ModuleType, config: dict[str, Any]) -> None:
    modules = hook.modules(ROOT, config)
    assert "serving/gateway/direct/http1/connection.py" in modules
    structs = [
        (module, one.name)
        for module in modules
        for one in _classes(ROOT / module)
        if any(base.endswith("Struct") for base in _bases(one))
    ]
    assert structs == []


def test_no_compiled_function_tells_positions_from_names(
    hook: ModuleType, config: dict[str, Any]
) -> None:
    """Compiled, `f(metric, /, **attributes)` does not take an attribute that is called metric."""
    functions = [
        (module, node.name)
        for module in hook.modules(ROOT, config)
        for node in _nodes(ROOT / module)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if node.args.posonlyargs and node.args.kwarg
    ]
    assert functions == []


def test_no_interpreted_class_inherits_from_a_compiled_one(
    hook: ModuleType, config: dict[str, Any]
) -> None:
    modules = hook.modules(ROOT, config)
    compiled = {
        (module.removesuffix(".py").replace("/", "."), one.name)
        for module in modules
        for one in _classes(ROOT / module)
    }
    wrong = []
    for path in (ROOT / "serving").rglob("*.py"):
        if str(path.relative_to(ROOT)) in modules or path.parent.name == "pb":
            continue
        imported = {
            alias.asname or alias.name: (node.module, alias.name)
            for node in _nodes(path)
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        wrong += [
            (str(path), one.name)
            for one in _classes(path)
            if any(imported.get(base) in compiled for base in _bases(one))
        ]
    assert wrong == []


def test_a_pattern_that_matches_nothing_is_told(hook: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "a.py").touch()
    with pytest.raises(SystemExit, match=r"interpret .*gone\.py"):
        hook.modules(tmp_path, {"compile": ["*.py"], "interpret": ["gone.py"]})


def test_a_missing_compiler_is_told(hook: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysconfig, "get_config_var", lambda _name: "no-such-cc -pthread")
    with pytest.raises(SystemExit, match=r"needs the C compiler `no-such-cc`.*apt-get install gcc"):
        hook.check_tools()


def test_missing_headers_are_told(
    hook: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sysconfig, "get_config_var", lambda _name: "sh")  # is everywhere
    monkeypatch.setattr(sysconfig, "get_path", lambda _name: str(tmp_path))
    with pytest.raises(SystemExit, match=r"no .*Python\.h; .*libpython3\.11-dev"):
        hook.check_tools()
