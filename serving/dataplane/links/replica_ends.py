"""How replicas ended, as the control plane tells it: evidence for or against what they computed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from serving.channel.messages.control import EndedMeta

WAIT_S: Final = 1.0
"""How long to wait for the control plane's word, which comes ms after the lost connection."""

Callback = Callable[[EndedMeta | None], None]


class ReplicaEnds:
    """Keeps the last end of each replica, and who waits for one. Belongs to the loop's thread.

    Attributes:
        told: whether the control plane tells ends at all; with Ray it does not know them.
    """

    def __init__(self) -> None:
        self.told = False
        self._known: dict[str, EndedMeta] = {}
        self._waiting: dict[str, list[Callback]] = {}

    def note(self, ended: EndedMeta) -> None:
        """Take in an end, and tell it to whoever waits for it."""
        self._known[ended.id] = ended
        for callback in self._waiting.pop(ended.id, ()):
            callback(ended)

    def forget(self, ident: str) -> None:
        """Another process has that id from now on."""
        self._known.pop(ident, None)

    def ask(self, ident: str, callback: Callback) -> None:
        """Call `callback` with how the replica ended, once; with None if that is not to be known.

        It may be called at once, and must not raise.
        """
        known = self._known.get(ident)
        if known is not None or not self.told:
            callback(known)
            return

        def once(ended: EndedMeta | None) -> None:
            timer.cancel()
            callback(ended)

        def give_up() -> None:
            self._waiting[ident].remove(once)
            callback(None)

        timer = asyncio.get_running_loop().call_later(WAIT_S, give_up)
        self._waiting.setdefault(ident, []).append(once)
