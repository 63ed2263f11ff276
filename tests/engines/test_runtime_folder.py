"""The folder for sockets: where there can be none, one sentence says what to set."""

from __future__ import annotations

import stat
import tempfile
from pathlib import Path

import pytest

from serving.config import ConfigError
from serving.engines.runtime_folder import make_runtime_folder


def test_it_is_private_and_new_every_time() -> None:
    first, second = make_runtime_folder(), make_runtime_folder()
    assert first != second
    assert stat.S_IMODE(first.stat().st_mode) == 0o700
    first.rmdir()
    second.rmdir()


def test_nowhere_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # /proc takes no files, from root neither.
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/proc", "/proc/self"])
    monkeypatch.setattr(tempfile, "tempdir", None)
    with pytest.raises(ConfigError, match=r"^the folder for temporary files cannot .*set TMPDIR"):
        make_runtime_folder()
    # It was found before, and has become so since.
    monkeypatch.setattr(tempfile, "tempdir", "/proc")
    with pytest.raises(ConfigError, match=r"^/proc cannot be written to \(.*\); set TMPDIR"):
        make_runtime_folder()


def test_a_path_that_is_too_long_for_sockets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 90)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with pytest.raises(ConfigError, match="too long for sockets; set TMPDIR"):
        make_runtime_folder()
    assert not list(deep.iterdir())
