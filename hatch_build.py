"""Build hook that compiles the gateway's hot modules with mypyc, from the same source.

Off unless `HATCH_BUILD_HOOK_ENABLE_CUSTOM=1` asks for it (`make wheel` does); the wheel is then one
for this platform and holds each module twice: as source, and as an extension module, which Python
prefers. Nothing is written beside the sources, so a checkout always runs what it shows.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sysconfig
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

OPTIMIZED = os.environ.get("VIGIL_WHEEL_OPTIMIZED", "3")
"""How much gcc optimizes, from 0 to 3. Less is compiled faster, which is enough for tests."""

GROUP = "vigil"
"""All modules are linked into one extension module, `vigil__mypyc`; theirs only refer to it."""

# What a compiled module uses, mypy must know. Libraries whose types are not needed for that are not
# read: it takes minutes, and a build environment need not have them.
MYPY = """
[mypy]
python_version = 3.11
ignore_missing_imports = True
follow_imports = silent
plugins = pydantic.mypy
cache_dir = {cache}
[mypy-{unread}]
follow_imports = skip
"""


class CompiledModules(BuildHookInterface[Any]):
    """Compiles what `compile` matches and `interpret` does not (globs, in pyproject.toml)."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile into a temporary folder, and have the results put into the wheel."""
        if version == "editable":  # it links the sources
            return
        check_tools()
        self._folder = TemporaryDirectory(prefix="vigil-compiled-")
        folder = Path(self._folder.name)
        built = folder / "built"
        with contextlib.chdir(self.root):
            _compile(modules(Path.cwd(), self.config), self.config["unread"], folder, built)
        files = {str(path): str(path.relative_to(built)) for path in built.rglob("*.so")}
        build_data["force_include"].update(files)
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the temporary folder."""
        if version != "editable":
            self._folder.cleanup()


def modules(root: Path, config: dict[str, Any]) -> list[str]:
    """Return the paths of the modules to compile, relative to the project's root.

    Raises:
        SystemExit: a pattern matches no file.
    """

    def matched(option: str) -> set[str]:
        found = {glob: list(root.glob(glob)) for glob in config[option]}
        if missing := [glob for glob, paths in found.items() if not paths]:
            raise SystemExit(f"pyproject.toml: {option} has what no file matches: {missing}")
        return {str(path.relative_to(root)) for paths in found.values() for path in paths}

    return sorted(matched("compile") - matched("interpret"))


def check_tools() -> None:
    """Say what is missing, before anything is compiled.

    Raises:
        SystemExit: there is no C compiler, or Python's headers are not there.
    """
    compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")[0]
    if shutil.which(compiler) is None:
        raise SystemExit(
            f"a compiled wheel needs the C compiler `{compiler}`, and there is none; "
            "install it (Debian: apt-get install gcc libc6-dev)"
        )
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if not header.exists():
        raise SystemExit(
            f"a compiled wheel needs Python's headers, and there is no {header}; "
            "install them (Debian: apt-get install libpython3.11-dev)"
        )


def _compile(paths: list[str], unread: list[str], folder: Path, built: Path) -> None:
    """Type check the modules at `paths`, translate them to C, and compile that into `built`."""
    from mypyc.build import mypycify  # only where a wheel is compiled
    from setuptools import Distribution
    from setuptools.command.build_ext import build_ext

    settings = folder / "mypy.ini"
    names = ",".join(f"{library}.*" for library in unread)
    settings.write_text(MYPY.format(cache=folder / "cache", unread=names))
    extensions = mypycify(
        ["--config-file", str(settings), *paths],
        only_compile_paths=paths,
        target_dir=str(folder / "c"),
        opt_level=OPTIMIZED,
        debug_level="0",
        group_name=GROUP,
    )
    # Not `setup()`, which would read pyproject.toml, and what it says is not meant for setuptools.
    command = build_ext(Distribution({"name": GROUP, "ext_modules": extensions}))
    command.build_lib = str(built)
    command.build_temp = str(folder / "objects")
    command.ensure_finalized()
    command.run()
