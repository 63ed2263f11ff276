"""Turns pickles into files that hold no code; each format that can be made so says how."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from pkgutil import resolve_name

from serving.config import ConfigError
from serving.config.formats import listed
from serving.config.formats.descriptor import Conversion, FormatDescriptor
from serving.models.formats.libraries import require
from serving.models.repository.manifest import MANIFEST, write_manifest

Write = Callable[[Path, Path], list[str]]
"""Reads a pickle, writes the weights to the second path, returns sentences for the user."""


def convert_pickle(file: Path, into: Path, *, trust_code: bool) -> Iterator[str]:
    """Convert `file`, write the result and its manifest to `into`; yield what was done.

    Args:
        file: what it is called tells which format is made of it.
        into: the version's folder; made if missing.
        trust_code: the pickle may be read, which runs whatever code it holds.

    Raises:
        ConfigError: code is not trusted, the file is missing, damaged or holds something else,
            or the folder holds a converted file already.
    """
    kind, conversion = _made_of(file)
    if not file.is_file():
        raise ConfigError(f"{file}: no such file")
    if not trust_code:
        raise ConfigError(
            f"{file}: reading a pickle runs whatever code it holds; give --trust-code if you "
            f"trust whoever wrote it"
        )
    assert kind.weights is not None
    target = into / kind.weights
    for path in (target, into / MANIFEST):
        if path.exists():
            raise ConfigError(f"{path}: is there already; give another folder with --into")
    if kind.library is not None:
        require(kind.library, f"converting to format {kind.name}")
    write: Write = resolve_name(conversion.write)
    into.mkdir(parents=True, exist_ok=True)
    notes = write(file, target)
    manifest = write_manifest(into, [target.name])
    yield f"wrote {target} and {manifest}"
    yield from notes


def _made_of(file: Path) -> tuple[FormatDescriptor, Conversion]:
    made = [(each, each.conversion) for each in listed.FORMATS if each.conversion]
    for kind, conversion in made:
        if file.suffix in conversion.suffixes:
            return kind, conversion
    suffixes = ", ".join(suffix for _kind, conversion in made for suffix in conversion.suffixes)
    raise ConfigError(f"{file}: its name must end in {suffixes}, which tells what it is")
