"""What keeps a folder from being a version, in a sentence that says what to change."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from serving.config import ConfigError

_MOST_DIGITS: Final = 18
VERSION: Final = re.compile(rf"[1-9][0-9]{{0,{_MOST_DIGITS - 1}}}")
"""How the folder of a version is named."""
_MEANT: Final = re.compile(r"[vV]?[0-9][0-9._-]*")
"""Names that somebody gave who meant a version."""


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
