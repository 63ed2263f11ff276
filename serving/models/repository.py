"""The model repository: which models and versions lie in a folder.

Read by the supervisor as well as by replicas, so nothing here imports torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from serving.config import ConfigError, ModelConfig, load_model
from serving.models.complete import completed
from serving.models.manifest import inside
from serving.remote.address import check_host, parse_address

WEIGHTS_OF: Final = {
    "safetensors": "model.safetensors",
    "torch_export": "model.pt2",
    "torchscript": "model.pt",
    "onnx": "model.onnx",
    "sklearn": "model.skops",
}
"""The weights file of each format that has one, inside the version's folder."""

PICKLES: Final = (".pkl", ".pickle", ".joblib")

# A model's name becomes a part of URLs, file names and metric labels.
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_VERSION: Final = re.compile(r"[1-9][0-9]{0,17}")


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One version of one model as it lies on disk.

    Attributes:
        name: the model's name, that of its folder.
        version: the version, a positive number as text.
        directory: the version's folder, `<root>/<name>/<version>`.
        config: what `model.yaml` says, with what it leaves to the artefact filled in.
        example: the OIP JSON request that `config.example` names, unparsed; None without one.
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
    """

    def __init__(self, root: Path, remote_hosts: list[str] | None = None) -> None:
        self.root = root
        self._remote_hosts = remote_hosts

    def scan(self) -> list[ModelEntry]:
        """Return every version that is to be served, sorted by name and version.

        Folders whose name begins with a dot are no models; files beside them are ignored.

        Raises:
            ConfigError: the root or something a model needs is missing or wrong.
        """
        return [
            entry for name in self.names() for entry in self._allowed(_entries(self.root / name))
        ]

    def names(self) -> list[str]:
        """Return the names of all folders that should hold models, sorted.

        Raises:
            ConfigError: the root is missing.
        """
        if not self.root.is_dir():
            raise ConfigError(
                f"{self.root}: no such folder; give the folder that holds the models "
                f"(one folder each, with a model.yaml)"
            )
        folders = (path for path in self.root.iterdir() if path.is_dir())
        return sorted(path.name for path in folders if not path.name.startswith("."))

    def holds(self, name: str) -> bool:
        """Whether there is a folder for the model `name`."""
        return bool(_NAME.fullmatch(name)) and (self.root / name).is_dir()

    def entries(self, name: str) -> list[ModelEntry]:
        """Return the versions of the model `name` that its `versions` asks for, oldest first.

        Raises:
            ConfigError: there is no such model, or it is wrong.
        """
        if not self.holds(name):
            raise ConfigError(f"{self.root}: holds no model '{name[:128]}'")
        return self._allowed(_entries(self.root / name))

    def get(self, name: str) -> ModelEntry:
        """Return the newest version of the model `name` that is to be served.

        Raises:
            ConfigError: there is no such model, or it is wrong.
        """
        return self.entries(name)[-1]

    def earlier(self, name: str, version: str) -> list[ModelEntry]:
        """Return the versions before `version` that have weights, newest first.

        Raises:
            ConfigError: there is no such model, or it is wrong.
        """
        if not self.holds(name):
            raise ConfigError(f"{self.root}: holds no model '{name[:128]}'")
        folder = self.root / name
        config = load_model(folder)
        before = _before(folder, config, version)
        return self._allowed(_described(folder, dict(before)))

    def _allowed(self, entries: list[ModelEntry]) -> list[ModelEntry]:
        for entry in entries:
            if entry.config.remote is not None:
                address = parse_address(entry.config.remote.url)
                check_host(address, self._remote_hosts, entry.name)
        return entries


def _entries(folder: Path) -> list[ModelEntry]:
    if not _NAME.fullmatch(folder.name):
        raise ConfigError(
            f"{folder}: '{folder.name}' cannot be a model's name; use letters, digits, '.', '_' "
            f"and '-', at most 128, and begin with a letter, digit or '_'"
        )
    config = load_model(folder)
    versions = _versions(folder, config)
    for version in versions:
        weights = _weights(folder / version, config)
        if not weights.is_file():
            raise ConfigError(f"{weights}: missing; {_hint(folder / version, config)}")
    return _described(folder, {version: _told(folder, config, version) for version in versions})


def _described(folder: Path, configs: dict[str, ModelConfig]) -> list[ModelEntry]:
    """Return an entry for each version in `configs`, in their order."""
    example = next((_read_example(folder, config) for config in configs.values()), None)
    return [
        ModelEntry(folder.name, version, folder / version, config, example)
        for version, config in configs.items()
    ]


def _weights(directory: Path, config: ModelConfig) -> Path:
    if config.format == "remote":
        return directory.parent / "model.yaml"
    if config.format == "python":
        return directory / f"{(config.factory or '').partition(':')[0]}.py"
    return directory / WEIGHTS_OF[config.format]


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
    for found in reversed(_found(folder)):
        weights = _weights(folder / str(found), config)
        if found < int(version) and weights.is_file():
            with suppress(ConfigError):
                yield str(found), completed(config, weights)


def _hint(directory: Path, config: ModelConfig) -> str:
    if config.format == "python":
        return "`factory` in model.yaml names it"
    for path in sorted(directory.iterdir()):
        if path.suffix in PICKLES:
            return (
                f"{path.name} is not served, because reading a pickle runs whatever code it "
                f"holds; `vigil convert {path}` converts it"
            )
    return f"format {config.format} keeps weights there"


def _versions(folder: Path, config: ModelConfig) -> list[str]:
    """Return the versions that the configuration asks for, oldest first."""
    found = _found(folder)
    if not found and config.format == "remote":
        return ["1"]  # nothing of it has to lie here
    if not found:
        raise ConfigError(f"{folder}: no version; put the weights into {folder / '1'}")
    if isinstance(config.versions, list):
        for version in config.versions:
            if version not in found:
                raise ConfigError(
                    f"{folder / str(version)}: no such folder; model.yaml names it in `versions`"
                )
        found = sorted(set(config.versions))
    elif config.versions == "latest":
        found = found[-1:]
    return [str(version) for version in found]


def _found(folder: Path) -> list[int]:
    """Return the versions that have a folder, oldest first."""
    return sorted(
        int(path.name)
        for path in folder.iterdir()
        if path.is_dir() and _VERSION.fullmatch(path.name)
    )


def _read_example(folder: Path, config: ModelConfig) -> bytes | None:
    if config.example is None:
        return None
    try:
        return inside(folder, config.example, "the model's folder").read_bytes()
    except ConfigError as error:
        raise ConfigError(f"{error.message}; model.yaml names it as `example`") from None
    except OSError as error:
        path = folder / config.example
        raise ConfigError(f"{path}: {error.strerror}; model.yaml names it as `example`") from None
