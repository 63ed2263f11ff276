"""Whether another replica is awaited after the last one of a model version was lost, for how long.

Replicas end together: a request that ends replicas takes one after the other, and each gateway
proves a new one by itself, so that one of them may have none for a moment while others have. What
was admitted is no reason for that, so it waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

RETURN_S: Final = 60.0
"""How long a replica is awaited: its restart may pause for ten seconds, and then it loads."""


class Replacement:
    """Waits for a replica in the place of the last one. Belongs to the loop's thread.

    Args:
        expected: whether replicas that are lost are started again.
        give_up: called when none has come in time.

    Attributes:
        expected: the same, until `stop`.
    """

    def __init__(self, give_up: Callable[[], None], *, expected: bool) -> None:
        self.expected = expected
        self._give_up = give_up
        self._timer: asyncio.TimerHandle | None = None

    @property
    def awaited(self) -> bool:
        """Whether there is none, and one may come any moment."""
        return self._timer is not None

    def begin(self) -> bool:
        """The last one is lost; return whether another one is awaited."""
        if self.expected and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(RETURN_S, self._over)
        return self.expected

    def end(self) -> None:
        """One is there, or nobody wants one any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def stop(self) -> None:
        """From now on none that is lost is started again, or would be of use."""
        self.expected = False
        self.end()

    def _over(self) -> None:
        self._timer = None
        self._give_up()
