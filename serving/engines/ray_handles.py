"""Transport `handle`: batches travel as Serve calls, one call per batch, routed by Serve."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from ray import serve
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import RayServeException

from serving.channel.directory import Directory
from serving.dataplane.handler import DataPlane
from serving.dataplane.links import HandleLink, ReplicaLost
from serving.errors import ModelFailed, VigilError

TRIES: Final = 2
WATCH_S: Final = 0.2


def replica_app(model: str, version: str) -> str:
    """Return the name of the Serve application that holds the replicas of a model version."""
    return f"vigil-replica-{model}-{version}"


def serve_call(app: str) -> Callable[[bytes], Awaitable[bytes]]:
    """Return a function that sends a frame to whichever replica of `app` Serve chooses."""

    async def call(frame: bytes) -> bytes:
        for _ in range(TRIES):  # the second try goes to another replica, or to the replacement
            try:
                handle = serve.get_deployment_handle("replica", app)
                answer: bytes = await handle.infer_frame.remote(frame)
                return answer
            except RayTaskError as error:
                # The message of Ray's own wrapper is a traceback; clients get the cause's.
                cause = error.cause
                if isinstance(cause, VigilError):
                    raise cause from None
                raise ModelFailed(f"replica failed: {type(cause).__name__}: {cause}") from None
            except (RayActorError, RayServeException, KeyError):
                continue
        raise ReplicaLost(app)

    return call


class HandlePlane(DataPlane):
    """A data plane whose links are Serve handles, one per model version."""

    def __init__(self, gateway_id: str) -> None:
        super().__init__(gateway_id, channel=False)
        self._handles: dict[tuple[str, str], HandleLink] = {}
        self._keepers: set[asyncio.Task[None]] = set()

    def apply(self, directory: Directory) -> None:
        """Take in a new directory; a model's link is open while it has a replica."""
        super().apply(directory)
        for served in directory.models:
            key = (served.name, served.version)
            slots = [
                member.slots
                for member in directory.of_role("replica")
                if (member.model, member.version) == key
            ]
            if slots and key not in self._handles:
                self._keep(key)
            if key in self._handles:
                self._handles[key].open = bool(slots)
                self._handles[key].slots = max(1, sum(slots))

    def _keep(self, key: tuple[str, str]) -> None:
        specs = self._models[key[0]][key[1]].specs
        link = HandleLink(f"{key[0]}-{key[1]}", 1, specs, serve_call(replica_app(*key)))
        self._handles[key] = link
        task = asyncio.get_running_loop().create_task(self._keep_linked(key, link))
        self._keepers.add(task)
        task.add_done_callback(self._keepers.discard)

    async def _keep_linked(self, key: tuple[str, str], link: HandleLink) -> None:
        """Prove the link, and again whenever the queue gave it up after losing a replica."""
        name, version = key
        while not self.draining and version in self._models.get(name, {}):
            entry = self._models[name][version]
            if link.open and link not in entry.queue.links:
                await self._prove(name, version, link)
            await asyncio.sleep(WATCH_S)
        self._handles.pop(key, None)
