"""The wheel as people get it: built, installed and used outside the checkout."""

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"serving", "monitors", "explain", "guards"}
DATA = [
    *(f"{package}/py.typed" for package in sorted(PACKAGES)),
    "serving/gateway/openapi.yaml",
    "serving/admin/console.html",
    "serving/admin/console.css",
    "serving/admin/console.js",
    *(f"serving/demo/configs/{name}.yaml" for name in ("cancer", "digits", "loans")),
    *(f"serving/demo/nets/{name}_net.py" for name in ("cancer", "digits", "loans")),
    "serving/protocol/pb/open_inference_pb2.py",
    "serving/protocol/pb/open_inference.proto",
]
# Building the demo takes half a minute on an idle core.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    _run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT],
        cwd=out,
    )
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a virtual environment `env` that has the wheel and borrows what it needs."""
    folder = tmp_path_factory.mktemp("elsewhere")
    env = folder / "env"
    _run([sys.executable, "-m", "venv", "--without-pip", env], cwd=folder)
    _run(
        [
            sys.executable, "-m", "pip", "--python", env / "bin" / "python",
            "install", "--quiet", "--no-deps", "--no-index", wheel,
        ],
        cwd=folder,
    )  # fmt: skip
    # A path in a .pth file is searched for modules, but .pth files in it are not read: the
    # editable installation of the checkout, which is one, stays out.
    site = next((env / "lib").glob("python3*")) / "site-packages"
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def _run(command: list[str | Path], cwd: Path) -> str:
    unwanted = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
    finished = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={k: v for k, v in os.environ.items() if k not in unwanted} | {"COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def _vigil(elsewhere: Path, *arguments: str | Path) -> str:
    return _run([elsewhere / "env" / "bin" / "vigil", *arguments], cwd=elsewhere)


def test_the_wheel_holds_the_four_packages_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.partition("/")[0] for name in names}
    (info,) = [name for name in top if name.endswith(".dist-info")]
    assert top - {info} == PACKAGES
    tests = [name for name in names if re.search(r"(^|[/_])(conf)?tests?([/_.])", name)]
    assert tests == []
    assert [name for name in names if name.endswith((".pyc", ".lua"))] == []
    assert f"{info}/licenses/LICENSE" in names


def test_the_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    files = [
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    assert sorted(set(files) - names) == []
    assert [name for name in DATA if name not in names] == []


def test_metadata_keeps_it_off_an_index_and_has_the_version(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (path,) = [name for name in archive.namelist() if name.endswith("/METADATA")]
    metadata = archive.read(path).decode()
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"Version: {wanted}" in metadata
    assert "Classifier: Private :: Do Not Upload" in metadata


def test_the_installed_code_is_used_and_not_the_checkout(elsewhere: Path) -> None:
    code = "import serving, monitors, explain, guards; print(serving.__file__)"
    where = _run([elsewhere / "env" / "bin" / "python", "-c", code], cwd=elsewhere)
    assert Path(where.strip()).is_relative_to(elsewhere)


def test_help_lists_the_commands(elsewhere: Path) -> None:
    text = _vigil(elsewhere, "--help")
    assert all(command in text for command in ("up", "demo", "check", "profile", "findings"))


def test_config_describes_every_key(elsewhere: Path) -> None:
    assert "listen.http_port" in _vigil(elsewhere, "config", "server")


@pytest.mark.long  # builds the demo once more; `make test-packaging` runs it, and so does .ci/run
def test_the_demo_is_built_and_passes_the_check(elsewhere: Path) -> None:
    models = elsewhere / "models"
    _vigil(elsewhere, "demo", "--build-only", "--models", models)
    assert {path.name for path in models.iterdir() if path.is_dir()} == {
        "cancer", "digits", "loans",
    }  # fmt: skip
    text = _vigil(elsewhere, "check", "--models", models)
    assert text.count(": fine") == 3
