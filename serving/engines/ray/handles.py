"""Transport `handle`: batches travel as Serve calls, one call per batch, routed by Serve."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from ray import serve
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import RayServeException

from serving.channel.messages.directory import Directory, ModelKey
from serving.dataplane.handler import DataPlane
from serving.dataplane.links.link import HandleLink, ReplicaLost
from serving.errors import ModelFailed, VigilError
from serving.telemetry.logs.causes import describe

TRIES: Final = 2
WATCH_S: Final = 0.2
ASK_REMOTE_S: Final = 1.0
"""How often a model on another server is asked whether it is there still."""


def replica_app(key: ModelKey) -> str:
    """Return the name of the Serve application that holds the replicas of a revision."""
    return f"vigil-replica-{'-'.join(part for part in key if part)}"


def serve_call(app: str) -> Callable[[bytes], Awaitable[bytes]]:
    """Return a function that sends a frame to whichever replica of `app` Serve chooses."""

    async def call(frame: bytes) -> bytes:
        for _ in range(TRIES):  # while one is replaced, Serve may know of none
            try:
                handle = serve.get_deployment_handle("replica", app)
                answer: bytes = await handle.infer_frame.remote(frame)
                return answer
            except RayTaskError as error:
                # The message of Ray's own wrapper is a traceback; clients get the cause's.
                cause = error.cause
                if isinstance(cause, VigilError):
                    raise cause from None
                failed = ModelFailed(f"replica failed: {type(cause).__name__}: {cause}")
                failed.cause = describe(cause)
                raise failed from None
            except RayActorError as error:
                # Perhaps because of what it computed, so the queue decides what is sent again.
                raise ReplicaLost(app, link_lost=False) from error
            except (RayServeException, KeyError):
                continue
        raise ReplicaLost(app, begun=False)

    return call


class HandleLinks:
    """Gives a data plane Serve handles as links, one per model version.

    Args:
        plane: one that opens no channels.
    """

    def __init__(self, plane: DataPlane) -> None:
        self._reconciler = plane.reconciler
        self._readiness = plane.readiness
        plane.reconciler.on_directory = self._follow
        self._handles: dict[ModelKey, HandleLink] = {}
        self._keepers: set[asyncio.Task[None]] = set()

    def _follow(self, directory: Directory) -> None:
        """Take in a new directory; a model's link is open while it has a replica."""
        slots: dict[ModelKey, int] = {}
        for member in directory.of_role("replica"):
            slots[member.key] = slots.get(member.key, 0) + member.slots
        for served in (*directory.models, *directory.candidates):
            key = served.key
            if key in slots and key not in self._handles:
                self._keep(key)
            if key in self._handles:
                link = self._handles[key]
                entry = self._reconciler.find(key)
                if link.open and key not in slots and entry is not None:
                    entry.batcher.remove_link(link)  # until it is proven again
                link.open = key in slots
                link.slots = max(1, slots.get(key, 0))

    def _keep(self, key: ModelKey) -> None:
        entry = self._reconciler.find(key)
        if entry is None:
            return
        link = HandleLink("-".join(key), 1, entry.specs, serve_call(replica_app(key)))
        self._handles[key] = link
        task = asyncio.get_running_loop().create_task(self._keep_linked(key, link))
        self._keepers.add(task)
        task.add_done_callback(self._keepers.discard)

    async def _keep_linked(self, key: ModelKey, link: HandleLink) -> None:
        """Prove the link, and again whenever the queue gave it up after losing a replica.

        A replica that fronts another server lives on when that is gone. Over a channel it closes
        the connection; no connection is here, so it is asked.
        """
        loop = asyncio.get_running_loop()
        asked = loop.time()
        while not self._readiness.draining and (entry := self._reconciler.find(key)) is not None:
            if link.open and link not in entry.batcher.links:
                await self._reconciler.links.prove(key, link)
                asked = loop.time()
            elif entry.config.remote is not None and loop.time() >= asked + ASK_REMOTE_S:
                if not await entry.reaches(link):
                    entry.batcher.remove_link(link)
                    self._readiness.may_have_changed()
                asked = loop.time()
            await asyncio.sleep(WATCH_S)
        self._handles.pop(key, None)
