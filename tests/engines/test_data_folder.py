"""Two instances must not share the folder of their state."""

import subprocess
import sys
from pathlib import Path

import pytest

from serving.config import ConfigError
from serving.engines.data_folder import held


def test_a_second_instance_is_kept_out_until_the_first_has_ended(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "data"
    refused = pytest.raises(ConfigError, match=r"in use by another Vigil.*--data-dir")
    with held(folder), refused, held(folder):
        pass
    with held(folder):
        pass


def test_one_that_was_killed_keeps_nobody_out(tmp_path: Path) -> None:
    code = (
        "import sys, time, pathlib\n"
        "from serving.engines.data_folder import held\n"
        "with held(pathlib.Path(sys.argv[1])):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(600)"
    )
    argv = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match="in use"), held(tmp_path):
            pass
        process.kill()
    with held(tmp_path):
        pass


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written to"), held(tmp_path / "file" / "data"):
        pass
