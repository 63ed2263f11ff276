"""A process ends with what carries its Ray; here that is a program of the same name."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from serving.engines.ray.loss import LOST

SCRIPT = """
import subprocess, sys, time
from pathlib import Path
from serving.engines.ray.loss import carriers, ending_with_ray

carrier = subprocess.Popen([sys.argv[1], "1000"])
while Path(f"/proc/{carrier.pid}/comm").read_text().strip() != Path(sys.argv[1]).name:
    time.sleep(0.01)
with ending_with_ray():
    if sys.argv[2] == "lost":
        carrier.kill()
        carrier.wait()
        time.sleep(60)
carrier.kill()
carrier.wait()
time.sleep(0.2)  # nobody cares any more
print("goes on")
"""


@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
@pytest.mark.parametrize("when", ["lost", "left"])
def test_it_ends_with_its_ray_and_not_after_it_has_left(
    tmp_path: Path, name: str, when: str
) -> None:
    program = tmp_path / name
    shutil.copy(shutil.which("sleep") or "/bin/sleep", program)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(program), when],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    expected = (LOST, "") if when == "lost" else (0, "goes on\n")
    assert (done.returncode, done.stdout) == expected, done.stderr
