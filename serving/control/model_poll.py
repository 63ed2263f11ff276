"""Looks at the models' folder now and then, and loads what has changed there."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from serving.config import ConfigError
from serving.control.lifecycle import ModelControl
from serving.errors import VigilError
from serving.models.repository.folder import ModelRepository
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report

Prints = dict[str, int]


class ModelPoll:
    """Does what `load` and `unload` do when the folder changes.

    A change is acted upon once it has stood still from one look to the next, so that a version
    which is still being copied is not loaded; a version that failed is tried again when its
    files change.

    Args:
        control: loads and unloads.
        repository: the folder.
        every_s: seconds between two looks.
    """

    def __init__(self, control: ModelControl, repository: ModelRepository, every_s: float) -> None:
        self._control = control
        self._repository = repository
        self._every_s = every_s

    async def run(self) -> None:
        """Look for ever."""
        done = seen = await asyncio.to_thread(self._look) or {}
        while True:
            await asyncio.sleep(self._every_s)
            now = await asyncio.to_thread(self._look)
            if now is None:
                continue
            still = {name for name in {*now, *done} if now.get(name) == seen.get(name)}
            for name in sorted(name for name in still if now.get(name) != done.get(name)):
                await self._follow(name, there=name in now)
                done = _with(done, name, now.get(name))
            seen = now

    async def _follow(self, name: str, *, there: bool) -> None:
        try:
            if there:
                await self._control.load(name)
            elif name in self._control.loaded:
                await self._control.unload(name)
        except VigilError:
            pass  # whoever refused it has logged why
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one folder, the others are followed
            said = "the folder of a model cannot be followed"
            report(Event.INTERNAL_ERROR, said, model=name, error=error)

    def _look(self) -> Prints | None:
        """Return a fingerprint of every model's folder; None when they cannot be seen."""
        try:
            return {name: _print(self._repository.root / name) for name in self._repository.names()}
        except (ConfigError, OSError):
            # That the folder itself is gone is a mistake, and no order to unload everything.
            return None


def _with(prints: Prints, name: str, value: int | None) -> Prints:
    others = {key: known for key, known in prints.items() if key != name}
    return others if value is None else {**others, name: value}


def _print(folder: Path) -> int:
    files = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for name in names:
            try:
                about = (Path(place) / name).stat()
            except OSError:  # it went away meanwhile; the next look sees that
                continue
            files.append((place, name, about.st_size, about.st_mtime_ns))
    return hash(tuple(sorted(files)))
