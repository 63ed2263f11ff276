"""Which versions a model's folder holds, and what keeps a folder from being one, in a sentence."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from serving.channel.messages.directory import BrokenModel
from serving.config import ConfigError, ModelConfig

_MOST_DIGITS: Final = 18
VERSION: Final = re.compile(rf"[1-9][0-9]{{0,{_MOST_DIGITS - 1}}}")
"""How the folder of a version is named."""
_MEANT: Final = re.compile(r"[vV]?[0-9][0-9._-]*")
"""Names that somebody gave who meant a version."""


def wanted(folder: Path, config: ModelConfig) -> list[str]:
    """Return the versions that the configuration asks for, oldest first.

    Raises:
        ConfigError: there is none.
    """
    found = found_in(folder)
    if not found and config.remote:
        return ["1"]  # nothing of it has to lie here
    if not found:
        raise no_version(folder)
    if isinstance(config.versions, list):
        found = sorted(set(config.versions))
    elif config.versions == "latest":
        found = found[-1:]
    return [str(version) for version in found]


def found_in(folder: Path) -> list[int]:
    """Return the versions that have a folder, oldest first."""
    return sorted(
        int(path.name)
        for path in folder.iterdir()
        if path.is_dir() and VERSION.fullmatch(path.name)
    )


def no_folders(folder: Path, config: ModelConfig, versions: list[str]) -> list[BrokenModel]:
    """Return what is named as a version that would serve and is none, oldest first."""
    if isinstance(config.versions, list) or config.remote:
        return []  # what a list names is read, and what is wrong with it found then
    named = [int(path.name) for path in folder.iterdir() if VERSION.fullmatch(path.name)]
    first = int(versions[-1]) if config.versions == "latest" else 0
    return [
        BrokenModel(folder.name, str(number), f"{folder / str(number)}: {why}", config.required)
        for number in sorted(named)
        if number > first and (why := unusable(folder / str(number)))
    ]


def no_version(folder: Path) -> ConfigError:
    """Return what to say of a model's folder that holds no version."""
    for path in sorted(folder.iterdir()):
        if _MEANT.fullmatch(path.name) and (why := unusable(path)):
            return ConfigError(f"{path}: {why}")
    return ConfigError(f"{folder}: no version; put the weights into {folder / '1'}")


def unusable(path: Path) -> str:
    """Say why what is at `path` is no version; empty where it is one or where nothing is."""
    name = path.name
    if name.isdecimal() and len(name.lstrip("0")) > _MOST_DIGITS:
        return f"a version has at most {_MOST_DIGITS} digits; rename the folder"
    if not VERSION.fullmatch(name):
        if not path.is_dir():
            return ""
        return (
            "a version is a whole number from 1 on, without zeros before it; rename the folder, "
            "for example to 1"
        )
    if path.is_dir():
        return ""
    if path.is_symlink() and not path.exists():
        return "is a symbolic link that leads to nothing; let it lead to the version's folder"
    return "is no folder; put the weights into a folder of that name" if path.exists() else ""
