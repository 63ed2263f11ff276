"""Vigil's compiled wheel, unpacked: what production installs, and so what is raced."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from loadtest.home import ROOT


def unpacked(home: Path) -> Path:
    """Return where the compiled files of this checkout lie, or will lie once `build` has run."""
    return (home / "compiled").resolve()


def build(home: Path) -> None:
    """Build the wheel as `make wheel` does, and unpack it; once for each commit.

    Raises:
        SystemExit: it cannot be built; the reason has been printed.
    """
    folder = unpacked(home)
    commit, known = _commit(), folder / "commit"
    if not commit.endswith("+") and known.exists() and known.read_text() == commit:
        return
    print("compiling Vigil: a minute", flush=True)
    with tempfile.TemporaryDirectory() as out:
        done = subprocess.run(
            [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT],
            env=os.environ | {"HATCH_BUILD_HOOK_ENABLE_CUSTOM": "1"},
            stdout=subprocess.DEVNULL,
            check=False,
        )
        if done.returncode:
            raise SystemExit("the compiled wheel could not be built; what is missing stands above")
        shutil.rmtree(folder, ignore_errors=True)
        (wheel,) = Path(out).glob("*.whl")
        zipfile.ZipFile(wheel).extractall(folder)
    known.write_text(commit)


def _commit() -> str:
    """Return the commit of this checkout, with a plus sign where files have changed since."""
    git = ["git", "-C", ROOT]
    commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    changed = subprocess.run([*git, "diff", "--quiet", "HEAD"], check=False)
    return commit.stdout.strip() + ("+" if changed.returncode else "")
