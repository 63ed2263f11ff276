import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from serving.config import ConfigError
from serving.demo import build, models
from serving.demo.build import NAMES, STAMP, build_demo
from serving.demo.models import build_cancer
from serving.models.repository.folder import ModelRepository


def nothing(what, done, total):
    pass


def digests(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


@pytest.fixture
def quick(monkeypatch):
    """Replaces the three builders with ones that only count."""
    built = []

    def make(folder, progress):
        folder.mkdir()
        (folder / "model.yaml").write_text(f"made {len(built)}")
        built.append(folder.name)
        progress(folder.name, 1, 1)

    monkeypatch.setattr(models, "BUILDERS", dict.fromkeys(NAMES, make))
    return built


def test_the_repository_is_complete(demo_root):
    repository = ModelRepository(demo_root)
    entries = [repository.get(name) for name in repository.names()]
    assert [(entry.name, entry.version) for entry in entries] == [
        ("cancer", "1"),
        ("digits", "1"),
        ("loans", "1"),
    ]
    for entry in entries:
        assert entry.example
        for name in ("manifest.json", "reference.parquet", "heldout.parquet", "test.parquet"):
            assert (entry.directory / name).is_file()
        assert (entry.profile / "drift.json").is_file()
    assert not list(demo_root.glob(".building-*"))


def test_same_bytes_every_time(demo_root, tmp_path):
    build_cancer(tmp_path / "cancer", nothing)
    assert digests(tmp_path / "cancer") == digests(demo_root / "cancer")


def test_nothing_is_built_twice(quick, tmp_path):
    steps = []
    build_demo(tmp_path / "models", lambda *step: steps.append(step))
    build_demo(tmp_path / "models", lambda *step: steps.append(step))
    assert quick == ["digits", "cancer", "loans"]
    assert len(steps) == 3


def test_each_name_has_a_builder():
    assert tuple(models.BUILDERS) == NAMES


def test_models_that_are_there_are_not_waited_for(quick, tmp_path):
    build_demo(tmp_path)
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from serving.demo.build import build_demo\n"
        "build_demo(Path(sys.argv[1]))\n"
        "print([name for name in ('torch', 'sklearn', 'pandas', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


def test_new_code_builds_anew_and_leaves_other_models_alone(quick, tmp_path, monkeypatch):
    build_demo(tmp_path)
    (tmp_path / "mine").mkdir()
    monkeypatch.setattr(build, "source_digest", lambda: "another")
    build_demo(tmp_path)
    assert len(quick) == 6
    assert (tmp_path / "loans" / "model.yaml").read_text() == "made 5"
    assert (tmp_path / "mine").is_dir()
    assert (tmp_path / STAMP).read_text() == "another"


def test_a_lost_model_is_built_again(quick, tmp_path):
    build_demo(tmp_path)
    (tmp_path / "digits" / "model.yaml").unlink()
    build_demo(tmp_path)
    assert len(quick) == 6


def test_an_interrupted_build_is_done_again(quick, tmp_path, monkeypatch):
    def interrupted(folder, progress):
        folder.mkdir()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setitem(models.BUILDERS, "cancer", interrupted)
        with pytest.raises(KeyboardInterrupt):
            build_demo(tmp_path)
    assert not (tmp_path / "cancer").exists()
    build_demo(tmp_path)
    assert quick == ["digits", "digits", "cancer", "loans"]


def test_where_nothing_can_be_written(quick, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/proc"])
        patch.setattr(tempfile, "tempdir", None)
        with pytest.raises(ConfigError, match="set TMPDIR"):
            build_demo(tmp_path / "models")
    with pytest.raises(ConfigError, match=r"^/proc/models: .*; .* with --models"):
        build_demo(Path("/proc/models"))
    assert quick == []


def test_models_of_the_same_name_are_not_overwritten(quick, tmp_path):
    (tmp_path / "digits").mkdir()
    with pytest.raises(ConfigError, match="is not the demo's"):
        build_demo(tmp_path)
    assert quick == []
