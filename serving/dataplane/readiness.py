"""Whether this gateway can answer, why not, and who is told when that may have changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from serving.channel.messages.directory import LEAVING, Directory
from serving.config.encoded import decode_config
from serving.dataplane.endpoint import Endpoint
from serving.dataplane.routing import NOTHING_SAID


class Readiness:
    """The readiness of one gateway.

    Args:
        missing: returns what keeps it from being ready, one sentence each.

    Attributes:
        draining: whether it is closed, or as good as.
        stopping: set once streams are to end; what is under way is finished.
        on_change: called when what is ready may have changed.
    """

    def __init__(self, missing: Callable[[], list[str]]) -> None:
        self._missing = missing
        self.draining = False
        self.stopping = asyncio.Event()
        self.on_change: Callable[[], None] = lambda: None
        self._changed: asyncio.Future[None] | None = None

    def ready(self) -> tuple[bool, list[str]]:
        """Whether an inference through every required model has worked; reasons when not."""
        if self.draining or self.stopping.is_set():
            return False, ["the gateway is draining"]
        reasons = self._missing()
        return not reasons, reasons

    def drain(self) -> None:
        """Be not ready and let streams end; what is under way is finished."""
        self.stopping.set()
        self.may_have_changed()

    @property
    def changed(self) -> asyncio.Future[None]:
        """Done as soon as what is ready may have changed; ask again to wait for the next time."""
        if self._changed is None or self._changed.done():
            self._changed = asyncio.get_running_loop().create_future()
        return self._changed

    def may_have_changed(self) -> None:
        """Tell everybody who waits, and the control plane, that what is ready may have changed."""
        self.wake()
        self.on_change()

    def wake(self) -> None:
        """Have those look again who wait for `changed`."""
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)


def missing(
    directory: Directory, entries: Sequence[Endpoint], refused: Mapping[tuple[str, str], str]
) -> list[str]:
    """Return why not every required model answers, one sentence each; empty: all do.

    Args:
        directory: what should be served.
        entries: what is.
        refused: by name and version, why something cannot be.
    """
    if directory.leaving:
        return [LEAVING]
    if not directory.generation:
        return [NOTHING_SAID]
    reasons = [
        f"model '{entry.name}': {entry.problem}"
        for entry in entries
        if entry.config.required and not entry.ready
    ]
    served = {entry.name for entry in entries}
    reasons += [
        f"model '{name}': {why}"
        for (name, version), why in refused.items()
        if name not in served and not _is_optional(directory, name, version)
    ]
    return reasons + directory.missing


def _is_optional(directory: Directory, name: str, version: str) -> bool:
    configs = (each.config for each in directory.models if each.key[:2] == (name, version))
    try:
        return not any(decode_config(each).required for each in configs)
    except ValueError:  # it may be refused for just that
        return False
