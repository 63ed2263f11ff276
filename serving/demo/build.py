"""Builds the demo repository, once: a stamp tells whether it is still what this code makes."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from importlib import metadata, resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from serving.config import ConfigError
from serving.engines.runtime_folder import temporary_folder

if TYPE_CHECKING:
    from serving.models.profile.fit import Progress

NAMES: Final = ("digits", "cancer", "loans")
STAMP: Final = ".vigil-demo"
_UNFINISHED: Final = "unfinished"
# What the models and their profiles come out of.
_PACKAGES: Final = ("serving.demo", "serving.models", "guards", "monitors")
_LIBRARIES: Final = ("torch", "scikit-learn", "safetensors", "pyarrow")


def build_demo(root: Path, progress: Progress = lambda what, done, total: None) -> None:
    """Make the models `digits`, `cancer` and `loans` in the repository `root`.

    Nothing is done if they are there and were made by this version of the code. Takes about
    half a minute on one core.

    Args:
        root: the folder of models; made if missing, other models in it are left alone.
        progress: told of every epoch and every step.

    Raises:
        ConfigError: a model of one of those names is there and was not made by this function, or
            `root`, or the folder for temporary files, cannot be written to.
    """
    stamp = root / STAMP
    wanted = source_digest()
    if stamp.is_file() and stamp.read_text(encoding="utf-8").strip() == wanted:
        if all((root / name / "model.yaml").is_file() for name in NAMES):
            return
    elif not stamp.is_file():
        _refuse_foreign(root)
    temporary_folder()  # torch and scikit-learn need one while they build
    try:
        _build(root, stamp, wanted, progress)
    except OSError as error:
        raise ConfigError(
            f"{error.filename or root}: {error.strerror or error}; the demo models cannot be "
            "written, give another folder for them with --models"
        ) from error


def _build(root: Path, stamp: Path, wanted: str, progress: Progress) -> None:
    # Here, because of torch and scikit-learn, and most often the models are there already.
    from serving.demo.models import BUILDERS

    root.mkdir(parents=True, exist_ok=True)
    stamp.write_text(_UNFINISHED, encoding="utf-8")
    for name, build in BUILDERS.items():
        # Made beside its place and moved there, so that no half-made model is ever seen. The
        # dot keeps the repository from taking the work folder for a model.
        with tempfile.TemporaryDirectory(prefix=".building-", dir=root) as work:
            build(Path(work) / name, progress)
            shutil.rmtree(root / name, ignore_errors=True)
            (Path(work) / name).rename(root / name)
    stamp.write_text(wanted, encoding="utf-8")


def source_digest() -> str:
    """Return a digest of all code and library versions that the demo models come out of."""
    digest = hashlib.sha256()
    for library in _LIBRARIES:
        digest.update(f"{library} {metadata.version(library)}\n".encode())
    for package in _PACKAGES:
        for name, content in _sources(resources.files(package), package):
            digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _sources(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for item in sorted(folder.iterdir(), key=lambda item: item.name):
        if item.is_dir():
            yield from _sources(item, f"{prefix}/{item.name}")
        elif item.name.endswith((".py", ".yaml")):
            yield f"{prefix}/{item.name}", item.read_bytes()


def _refuse_foreign(root: Path) -> None:
    for name in NAMES:
        if (root / name).exists():
            raise ConfigError(
                f"{root / name}: is there already and is not the demo's; give another folder"
            )
