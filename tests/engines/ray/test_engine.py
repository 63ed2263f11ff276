"""The parts of the ray engine that need no Ray."""

import ast
import os
import stat
from pathlib import Path

import pytest

import serving.engines.ray
from serving.engines.ray.engine import ensure_token, local_environment


def test_token_is_secret_and_stays(tmp_path: Path) -> None:
    path = ensure_token(tmp_path / "data")
    token = path.read_text()
    assert len(token) == 64
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert ensure_token(tmp_path / "data").read_text() == token


def test_token_file_that_others_could_read_is_closed(tmp_path: Path) -> None:
    path = ensure_token(tmp_path)
    path.chmod(0o644)
    ensure_token(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"0" * 10, b"\xff" * 64])
def test_a_token_that_was_cut_short_is_set_aside(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ray.token").write_bytes(content)
    assert len(ensure_token(tmp_path).read_text()) == 64
    (kept,) = tmp_path.glob("ray.token.*.unreadable")
    assert kept.read_bytes() == content


def test_two_instances_have_two_tokens(tmp_path: Path) -> None:
    assert ensure_token(tmp_path / "a").read_text() != ensure_token(tmp_path / "b").read_text()


def test_environment_names_the_token_and_never_holds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = ensure_token(Path("data"))
    environment = local_environment(path)
    assert environment["RAY_AUTH_MODE"] == "token"
    assert environment["RAY_AUTH_TOKEN_PATH"] == os.fspath(tmp_path / "data" / "ray.token")
    assert path.read_text() not in environment.values()


def test_only_the_ray_modules_import_ray_and_the_first_does_not() -> None:
    room = Path(serving.engines.ray.__file__).parent
    importers = {path for path in room.parents[1].rglob("*.py") if "ray" in _imports(path)}
    assert importers
    assert {path.parent for path in importers} == {room}
    assert room / "engine.py" not in importers


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found
