"""What a server does at its start about a newest version that is broken: an earlier one serves.

Somebody may have put a version there that was never tried, and then the server starts again. What
had answered until then is better than nothing.
"""

from __future__ import annotations

import asyncio
from typing import Final

from serving.channel.messages.directory import ModelKey, ServedModel
from serving.config import ConfigError
from serving.control.lifecycle import ModelControl
from serving.control.registry import Registry
from serving.control.served_model import config_of, served_model
from serving.models.repository.folder import ModelRepository

CERTAIN_S: Final = 1.0
"""A version that fails for this long has failed; a replica that died at once may do better."""


def may_fall_back(served: ServedModel) -> bool:
    """Whether earlier versions may stand in for this one.

    Not where `versions` names them, nor where all of them are one model on another server.
    """
    config = config_of(served)
    return config.versions == "latest" and config.remote is None


async def fall_back(
    registry: Registry,
    control: ModelControl,
    repository: ModelRepository,
    served: ServedModel,
    generation: int,
) -> None:
    """Wait until a version answers; if it fails, the newest earlier one that can be loaded serves.

    Args:
        registry: tells when there is something new.
        control: serves it, in directory `generation` for the first time.
        repository: where earlier versions lie.
        served: the newest version.
        generation: of the directory that told gateways of it.
    """
    why = await _failure(registry, control, served.key, generation)
    if why:
        earlier = await asyncio.to_thread(_earlier, repository, served)
        if earlier:
            await control.fall_back(served, why, earlier)


async def _failure(
    registry: Registry, control: ModelControl, key: ModelKey, generation: int
) -> str:
    """Return why a version cannot answer; an empty text once it does, or is not served any more."""
    loop = asyncio.get_running_loop()
    since: float | None = None
    while control.serves(key):
        ready, why = control.gateways.standing(key, generation)
        if ready:
            return ""
        since = (since or loop.time()) if why else None
        if since is not None and loop.time() >= since + CERTAIN_S:
            return why
        await registry.news(CERTAIN_S)
    return ""


def _earlier(repository: ModelRepository, served: ServedModel) -> list[ServedModel]:
    try:
        earlier = repository.earlier(served.name, served.version)
        return [served_model(entry, repository.log) for entry in earlier]
    except (ConfigError, OSError):  # the folder has gone meanwhile
        return []
