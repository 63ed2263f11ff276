"""What lies in the repository, as the directory tells everybody of it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from serving.channel.messages.directory import BrokenModel, Inventory, ServedModel
from serving.config import ConfigError, Log, ModelConfig, signature_difference
from serving.config.encoded import decode_config, encode_config
from serving.models.repository.folder import ModelEntry, ModelRepository, readable, wrong_name
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report

REVISION_DIGITS: Final = 12


def served_model(entry: ModelEntry, log: Log | None = None) -> ServedModel:
    """Return an entry as the directory carries it, with the revision of its files.

    Args:
        entry: the version.
        log: the server's section; what the directory carries says of logging what is in force,
            and nothing where the model is not logged.
    """
    logged = None if log is None else log.of_model(entry.config.log)
    return ServedModel(
        entry.name,
        entry.version,
        encode_config(entry.config.model_copy(update={"log": logged})),
        str(entry.directory.absolute()),
        entry.example,
        _revision(entry),
    )


def config_of(served: ServedModel) -> ModelConfig:
    """Return the whole configuration that the directory carries of a model."""
    return decode_config(served.config)


def inventory(repository: ModelRepository, only: Sequence[str] | None = None) -> Inventory:
    """Return what an instance begins with; what is wrong with one model leaves the others alone.

    Args:
        repository: where models lie.
        only: names of the models that are meant; none: all.

    Raises:
        ConfigError: the repository's folder is missing or cannot be read.
    """
    models: list[ServedModel] = []
    broken: list[BrokenModel] = []
    for name in repository.names() if only is None else only:
        entries, wrong = repository.survey(name)
        broken += wrong
        for entry in entries:
            try:
                with readable(entry.directory):
                    models.append(served_model(entry, repository.log))
                    _tell_change(repository, entry)
            except ConfigError as error:
                required = entry.config.required
                broken.append(BrokenModel(name, entry.version, error.message, required))
    if only is None:
        broken += [
            BrokenModel(name, "", wrong_name(repository.root, name))
            for name in repository.misnamed()
        ]
    for each in broken:
        report(Event.VERSION_REFUSED, each.sentence, model=each.name, version=each.version)
    if not models:
        said = f"{repository.root}: holds no model that can be served; put one there, and load it"
        report(Event.NO_MODEL, said)
    return Inventory(tuple(models), tuple(broken))


def _tell_change(repository: ModelRepository, entry: ModelEntry) -> None:
    """Log where a start serves another signature than the version before had.

    Nobody is there yet who could be asked, and what was served before the start is not known.
    """
    if entry.config.versions != "latest" or not entry.config.descriptor.signature:
        return  # else `model.yaml` is the signature of all versions
    try:
        earlier = repository.earlier(entry.name, entry.version)
    except ConfigError:  # what is wrong with those is no matter of this one
        return
    for before in earlier[:1]:
        if difference := signature_difference(before.config, entry.config):
            report(
                Event.SIGNATURE_CHANGED,
                f"model '{entry.name}' version {entry.version} is served although its signature "
                f"is not that of version {before.version}: {difference}",
                model=entry.name,
                version=entry.version,
            )


def _revision(entry: ModelEntry) -> str:
    """Digest of configuration, example, and the files' names, sizes and times."""
    # Which versions are served says nothing about what each of them is.
    config = entry.config.model_copy(update={"versions": "latest"})
    digest = hashlib.sha256(encode_config(config))
    digest.update(entry.example or b"")
    for path in sorted(_files(entry.directory)):
        about = path.stat()
        name = path.relative_to(entry.directory).as_posix()
        digest.update(os.fsencode(f"{name}\0{about.st_size}\0{about.st_mtime_ns}\n"))
    return digest.hexdigest()[:REVISION_DIGITS]


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        # Python writes caches beside the code that it imports.
        if path.is_file() and "__pycache__" not in path.parts:
            yield path
