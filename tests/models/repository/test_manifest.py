import json
import os
from pathlib import Path

import pytest

from serving.config import ConfigError
from serving.models.repository.manifest import (
    verified_bytes,
    verified_path,
    verify_all,
    write_folder_manifest,
    write_manifest,
)


@pytest.fixture
def version(tmp_path):
    (tmp_path / "weights").write_bytes(b"abc")
    write_manifest(tmp_path, ["weights"])
    return tmp_path


def test_manifest_holds_the_sha256(version):
    assert json.loads((version / "manifest.json").read_text()) == {
        "sha256": {"weights": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}
    }


def test_untouched_file_is_used(version):
    assert verified_bytes(version, "weights") == b"abc"
    assert verified_path(version, "weights") == version / "weights"


@pytest.mark.parametrize("check", [verified_bytes, verified_path])
def test_changed_file_is_refused(version, check):
    (version / "weights").write_bytes(b"xyz")
    with pytest.raises(ConfigError, match="its SHA-256 is not the one in manifest"):
        check(version, "weights")


@pytest.mark.parametrize("check", [verified_bytes, verified_path])
def test_unlisted_file_is_refused(version, check):
    (version / "other").write_bytes(b"abc")
    with pytest.raises(ConfigError, match="does not list other"):
        check(version, "other")


@pytest.mark.parametrize("name", [".hidden", "rows.parquet", "profile/w.bin", "a/__pycache__/w"])
def test_a_file_that_no_manifest_lists_needs_another_name(version, name):
    (version / name).parent.mkdir(parents=True, exist_ok=True)
    (version / name).write_bytes(b"abc")
    write_folder_manifest(version)
    with pytest.raises(ConfigError, match=rf"does not list {name}, .* leaves out .* give the file"):
        verified_bytes(version, name)


@pytest.mark.parametrize("check", [verified_bytes, verified_path])
def test_missing_files(version, check):
    with pytest.raises(ConfigError, match="No such file"):
        check(version, "gone")
    (version / "manifest.json").unlink()
    with pytest.raises(ConfigError, match=r"manifest\.json: No such file"):
        check(version, "weights")


@pytest.mark.parametrize("content", ["", "[]", '{"sha256": 1}', '{"sha256": {}, "md5": {}}'])
def test_damaged_manifest(version, content):
    (version / "manifest.json").write_text(content)
    with pytest.raises(ConfigError, match=r"manifest\.json"):
        verified_bytes(version, "weights")


@pytest.mark.parametrize(
    "name", ["../secret", "sub/../../secret", "ABSOLUTE", "link", "folder/secret"]
)
@pytest.mark.parametrize("check", [verified_bytes, verified_path])
def test_files_outside_the_folder_are_refused(tmp_path, check, name):
    version = tmp_path / "1"
    version.mkdir()
    (version / "sub").mkdir()
    secret = tmp_path / "secret"
    secret.write_bytes(b"abc")
    (version / "link").symlink_to(secret)
    (version / "folder").symlink_to(tmp_path)
    name = str(secret) if name == "ABSOLUTE" else name
    write_manifest(version, [name])  # the digest is right
    for refused in (lambda: check(version, name), lambda: verify_all(version)):
        with pytest.raises(ConfigError, match="outside the version's folder"):
            refused()


def test_links_inside_the_folder_and_a_linked_folder_are_followed(version, tmp_path_factory):
    (version / "latest").symlink_to("weights")
    write_manifest(version, ["weights", "latest"])
    link = tmp_path_factory.mktemp("other") / "1"
    link.symlink_to(version)
    assert verified_bytes(link, "latest") == b"abc"


def test_pipes_devices_loops_and_folders_are_refused(version):
    os.mkfifo(version / "pipe")
    (version / "folder").mkdir()
    (version / "loop").symlink_to("loop")
    for name in ("pipe", "folder", "loop", "a\0b"):
        with pytest.raises(ConfigError, match=r"no regular|is no path|symbolic links"):
            verified_path(version, name)


def test_the_manifest_of_files_that_were_put_there_by_hand(tmp_path: Path) -> None:
    for name in ("model.py", "table.json", "reference.parquet", ".hidden"):
        (tmp_path / name).write_text(name)
    (tmp_path / "profile").mkdir()
    with pytest.raises(ConfigError, match=f"`vigil manifest {tmp_path}` writes it"):
        verified_bytes(tmp_path, "model.py")
    for _ in range(2):  # the second finds a manifest, which does not list itself
        listed = json.loads(write_folder_manifest(tmp_path).read_bytes())["sha256"]
        assert sorted(listed) == ["model.py", "table.json"]
    assert verified_bytes(tmp_path, "model.py") == b"model.py"


def test_a_folder_without_files_has_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        write_folder_manifest(tmp_path / "1")
    with pytest.raises(ConfigError, match="has no files"):
        write_folder_manifest(tmp_path)
