"""A replica that cannot load its model tells the hub why before it ends."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Final

from serving.channel.connection import ChannelClosed
from serving.channel.control import FAILED, FailedMeta
from serving.channel.directory import ServedModel
from serving.channel.endpoint import connect

PATIENCE_S: Final = 3.0
MOST_CHARACTERS: Final = 500


def tell_failed(
    served: ServedModel, error: BaseException, hub_address: str, secret: bytes | None
) -> None:
    """Tell the hub that `served` could not be loaded; blocks for a bounded time, never raises."""
    reason = " ".join(str(error).split())[:MOST_CHARACTERS] or type(error).__name__
    meta = FailedMeta(served.name, served.version, served.revision, reason)

    async def tell() -> None:
        with contextlib.suppress(ChannelClosed):
            connection = await connect(hub_address, secret)
            connection.notify(FAILED, meta)
            connection.close()
            while not connection.closed:  # noqa: ASYNC110 - written out, then lost; no event for it
                await asyncio.sleep(0.005)

    # In a thread of its own, because the caller's may run a loop already.
    thread = threading.Thread(target=lambda: asyncio.run(tell()), name="last-words", daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
