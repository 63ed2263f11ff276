"""The model repository: which models and versions lie in a folder.

Read by the supervisor as well as by replicas, so nothing here imports torch.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from serving.channel.messages.directory import BrokenModel
from serving.config import PICKLES, ConfigError, Log, ModelConfig, insists, load_model
from serving.errors import InvalidInput, printable
from serving.models.repository.complete import completed
from serving.models.repository.manifest import inside
from serving.models.repository.versions import VERSION, found_in, no_folders, unusable, wanted
from serving.protocol.example import decode_example
from serving.remote.address import check_host, parse_address

# A model's name becomes a part of URLs, file names and metric labels.
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
# What Python and file systems leave beside models; other such names are no model's anyway.
_OTHERS: Final = frozenset({"__pycache__"})


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One version of one model as it lies on disk.

    Attributes:
        name: the model's name, that of its folder.
        version: the version, a positive number as text.
        directory: the version's folder, `<root>/<name>/<version>`.
        config: what `model.yaml` says, with what it leaves to the artefact filled in.
        example: the OIP request that `config.example` names, unparsed; None without one.
    """

    name: str
    version: str
    directory: Path
    config: ModelConfig
    example: bytes | None = None

    @property
    def weights(self) -> Path:
        """The file with the weights, or what stands for them: a factory's file, or an address's."""
        return _weights(self.directory, self.config)

    @property
    def profile(self) -> Path:
        """The folder of what `vigil profile` fitted for this version; it may not exist."""
        return self.directory / "profile"


class ModelRepository:
    """Models under `root`, each `<root>/<name>/model.yaml` and `<root>/<name>/<version>/`.

    Args:
        root: the folder that holds them.
        remote_hosts: hosts that models on other servers may name; None allows all.
        log: how their predictions are logged; None: not at all.
    """

    def __init__(
        self, root: Path, remote_hosts: list[str] | None = None, log: Log | None = None
    ) -> None:
        self.root = root
        self.log = log
        self._remote_hosts = remote_hosts

    def names(self) -> list[str]:
        """Return the names of all folders that should hold models, sorted.

        Files are no models, nor are folders whose names no model can have, such as `lost+found`.

        Raises:
            ConfigError: the root is missing or cannot be read.
        """
        return [name for name in self._folders() if can_be_model(name)]

    def misnamed(self) -> list[str]:
        """Return the names of folders that hold a `model.yaml` and cannot be models, sorted.

        What is no text in them, or would not be shown as it is, is written as escapes.

        Raises:
            ConfigError: as for `names`.
        """
        return [
            printable(os.fsencode(name).decode("utf-8", "backslashreplace"))
            for name in self._folders()
            if name[0] != "." and not can_be_model(name) and _is_there(self.root / name)
        ]

    def holds(self, name: str) -> bool:
        """Whether there is a folder for the model `name`."""
        return can_be_model(name) and _is_folder(self.root / name)

    def entries(self, name: str) -> list[ModelEntry]:
        """Return the versions of the model `name` that its `versions` asks for, oldest first.

        Raises:
            ConfigError: there is no such model, or it is wrong.
        """
        with self._reading(name) as folder:
            config = load_model(folder)
            versions = wanted(folder, config)
            for each in no_folders(folder, config, versions):
                raise ConfigError(each.reason)
            return [self._entry(folder, config, each) for each in versions]

    def survey(self, name: str) -> tuple[list[ModelEntry], list[BrokenModel]]:
        """Return what of the model `name` can be served, oldest first, and what is wrong.

        Where the newest version serves and is wrong, the newest earlier one that is not stands in.
        """
        config: ModelConfig | None = None
        try:
            with self._reading(name) as folder:
                config = load_model(folder)
                versions = wanted(folder, config)
                broken = no_folders(folder, config, versions)
        except ConfigError as error:
            required = config.required if config else insists(self.root / name)
            return [], [BrokenModel(name, "", error.message, required)]
        entries: list[ModelEntry] = []
        for version in versions:
            try:
                with self._reading(name) as folder:
                    entries.append(self._entry(folder, config, version))
            except ConfigError as error:
                broken.append(BrokenModel(name, version, error.message, config.required))
        if not entries and config.versions == "latest":
            with suppress(ConfigError):
                entries = self.earlier(name, versions[-1])[:1]
        return entries, broken

    def get(self, name: str) -> ModelEntry:
        """Return the newest version of the model `name` that is to be served.

        Raises:
            ConfigError: there is no such model, or it is wrong.
        """
        return self.entries(name)[-1]

    def version(self, name: str, version: str) -> ModelEntry:
        """Return a version of the model `name`, whether it is to be served or not.

        Raises:
            ConfigError: it is not there, or it is wrong.
        """
        with self._reading(name) as folder:
            config = load_model(folder)
            directory = folder / version
            if config.remote is None and not (
                VERSION.fullmatch(version) and _is_folder(directory) and directory.exists()
            ):
                raise ConfigError(f"{folder}: holds no version '{version[:40]}'")
            return self._entry(folder, config, version)

    def earlier(self, name: str, version: str) -> list[ModelEntry]:
        """Return the versions before `version` that have weights, newest first.

        Raises:
            ConfigError: there is no such model, or it is wrong.
        """
        with self._reading(name) as folder:
            config = load_model(folder)
            before = _before(folder, config, version)
            return [self._described(folder, each, told) for each, told in before]

    @contextmanager
    def _reading(self, name: str) -> Iterator[Path]:
        """Give the folder of the model `name`; whatever is wrong with it is a sentence."""
        folder = self.root / name
        if not self.holds(name):
            raise ConfigError(f"{self.root}: holds no model '{name[:128]}'")
        with readable(folder):
            yield folder

    def _folders(self) -> list[str]:
        with readable(self.root):
            if not self.root.is_dir():
                raise ConfigError(
                    f"{self.root}: no such folder; give the folder that holds the models "
                    f"(one folder each, with a model.yaml)"
                )
            return sorted(path.name for path in self.root.iterdir() if _is_folder(path))

    def _entry(self, folder: Path, config: ModelConfig, version: str) -> ModelEntry:
        directory = folder / version
        if not (directory.is_dir() or config.remote):
            why = unusable(directory) or "no such folder"
            raise ConfigError(f"{directory}: {why}; model.yaml names it in `versions`")
        weights = _weights(directory, config)
        if not weights.is_file():
            raise ConfigError(f"{weights}: {_lacks(weights, config)}")
        return self._described(folder, version, _told(folder, config, version))

    def _described(self, folder: Path, version: str, config: ModelConfig) -> ModelEntry:
        if config.remote is not None:
            check_host(parse_address(config.remote.url), self._remote_hosts, folder.name)
        example = _read_example(folder, version, config)
        return ModelEntry(folder.name, version, folder / version, config, example)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong while `path` is read into a sentence: it may hold anything.

    Raises:
        ConfigError: something went wrong.
    """
    try:
        yield
    except ConfigError:
        raise
    except OSError as error:
        raise ConfigError(f"{error.filename or path}: {error.strerror}") from None
    except Exception as error:
        raise ConfigError(f"{path}: cannot be read ({type(error).__name__}: {error})") from error


def can_be_model(name: str) -> bool:
    """Whether a folder of that name may hold a model."""
    return bool(_NAME.fullmatch(name)) and name not in _OTHERS


def wrong_name(root: Path, name: str) -> str:
    """Say how a model may be called, as one sentence."""
    return printable(
        f"{root / name}: '{name}' cannot be a model's name; use letters, digits, '.', '_' and "
        f"'-', at most 128, and begin with a letter, digit or '_'"
    )


def _is_folder(path: Path) -> bool:
    try:
        # A link that leads nowhere is told as a model that is wrong, since it was to be one.
        return path.is_dir() or (path.is_symlink() and not path.exists())
    except OSError:  # for example no right to look where a link leads
        return True


def _is_there(folder: Path) -> bool:
    try:
        return (folder / "model.yaml").exists()
    except OSError:
        return False


def _weights(directory: Path, config: ModelConfig) -> Path:
    kind = config.descriptor
    if kind.weights is not None:
        return directory / kind.weights
    if kind.needs_factory:
        return directory / f"{(config.factory or '').partition(':')[0]}.py"
    return directory.parent / "model.yaml"


def _told(folder: Path, config: ModelConfig, version: str) -> ModelConfig:
    """Return `config` with what it leaves to the artefact of `version`.

    Where the newest version serves and is broken, an earlier one may serve in its place, so the
    earlier one tells; loading finds what is wrong with the newest.
    """
    try:
        return completed(config, _weights(folder / version, config))
    except ConfigError:
        before = _before(folder, config, version) if config.versions == "latest" else iter(())
        _earlier, told = next(before, (None, None))
        if told is None:
            raise
        return told


def _before(folder: Path, config: ModelConfig, version: str) -> Iterator[tuple[str, ModelConfig]]:
    """Yield the versions before `version` that have weights, newest first, and what they are."""
    for found in reversed(found_in(folder)):
        weights = _weights(folder / str(found), config)
        if found < int(version) and weights.is_file():
            with suppress(ConfigError):
                yield str(found), completed(config, weights)


def _lacks(weights: Path, config: ModelConfig) -> str:
    if weights.exists():
        return "is no regular file"
    if config.descriptor.weights is None:
        return "missing; `factory` in model.yaml names it"
    for path in sorted(weights.parent.iterdir()):
        if path.suffix in PICKLES:
            return (
                f"missing; {path.name} is not served, because reading a pickle runs whatever code "
                f"it holds; `vigil convert {path}` converts it"
            )
    return f"missing; format {config.format} keeps weights there"


def _read_example(folder: Path, version: str, config: ModelConfig) -> bytes | None:
    if config.example is None:
        return None
    try:
        content = inside(folder, config.example, "the model's folder").read_bytes()
        # Here, because each replica would start, fail and start again, and not name the file.
        decode_example(content, folder.name, version)
        return content
    except InvalidInput as error:
        path = folder / config.example
        raise ConfigError(f"{path}: {error.message}; model.yaml names it as `example`") from None
    except ConfigError as error:
        raise ConfigError(f"{error.message}; model.yaml names it as `example`") from None
    except OSError as error:
        path = folder / config.example
        raise ConfigError(f"{path}: {error.strerror}; model.yaml names it as `example`") from None
