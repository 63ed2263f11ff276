import json

import pytest

from serving.config import ConfigError
from serving.models.manifest import verified_bytes, verified_path, write_manifest


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
