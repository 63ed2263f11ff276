"""Which explainers there are: each starts with the first question that needs it.

An explainer holds a copy of its model, and most models are never asked to be explained.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from serving.channel.messages.control import ExplainerMeta
from serving.channel.messages.directory import ModelKey, ServedModel
from serving.control.news import News
from serving.errors import ModelNotReady

START_S: Final = 60.0
"""For so long the control plane lets a question wait for an explainer."""
FIRST_PAUSE_S: Final = 5.0
LONGEST_PAUSE_S: Final = 300.0
ON_DEMAND: Final = "starts with the first question"


@dataclass(frozen=True, slots=True)
class _Failure:
    reason: str
    times: int
    until: float


class Explainers:
    """What was asked for, what is there, and what could not be. Belongs to the control plane's
    loop.

    One that cannot load its model is not tried again by itself: a question tries it again, once a
    pause is over that grows with each failure.

    Args:
        clock: monotonic seconds.

    Attributes:
        on_change: called when `asked` has changed.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.on_change: Callable[[], None] = lambda: None
        self._models: dict[ModelKey, ServedModel] = {}
        self._asked: dict[ModelKey, ServedModel] = {}
        self._loaded: set[ModelKey] = set()
        """Of these one was there since it was asked for."""
        self._there: set[ModelKey] = set()
        self._failures: dict[ModelKey, _Failure] = {}
        self._news = News()

    @property
    def asked(self) -> tuple[ServedModel, ...]:
        """The versions whose explainers should run."""
        return tuple(self._asked.values())

    def follow(self, models: Sequence[ServedModel]) -> None:
        """Take in what is served; explainers of anything else are not wanted any more."""
        self._models = {served.key: served for served in models}
        gone = self._asked.keys() - self._models.keys()
        for key in gone:
            self._forget(key)
        self._failures = {k: why for k, why in self._failures.items() if k in self._models}
        if gone:
            self._changed()

    def restore(self, keys: Iterable[ModelKey]) -> None:
        """Ask for those that the control plane before this one had asked for."""
        for key in keys:
            if key in self._models:
                self._asked[key] = self._models[key]

    async def wanted(self, asked: ExplainerMeta) -> None:
        """Start an explainer unless it is there, and return once it is.

        Raises:
            ModelNotReady: its model is not served, it could not load it, or takes too long.
        """
        try:
            async with asyncio.timeout(START_S):
                while not self._is_there(asked):
                    await self._news.wait()
        except TimeoutError:
            raise ModelNotReady(
                f"the explainer of model '{asked.model}' is still starting; retry later",
                retry_after_s=1,
            ) from None

    def _is_there(self, asked: ExplainerMeta) -> bool:
        wanted = (asked.model, asked.version)
        served = next((m for key, m in self._models.items() if key[:2] == wanted), None)
        if served is None:
            raise ModelNotReady(f"model '{asked.model}' is not served any more", retry_after_s=1)
        key = served.key
        if key in self._there:
            return True
        failure = self._failures.get(key)
        if failure is not None and (left := failure.until - self._clock()) > 0:
            raise ModelNotReady(
                f"the explainer of model '{asked.model}' could not be started: {failure.reason}; "
                f"a later question tries it again",
                retry_after_s=math.ceil(left),
            )
        if key not in self._asked:
            self._asked[key] = served
            self._changed()
        return False

    def joined(self, key: ModelKey) -> None:
        """An explainer has loaded its model and can be reached."""
        self._there.add(key)
        self._loaded.add(key)
        self._failures.pop(key, None)
        self._news.tell()

    def left(self, key: ModelKey) -> None:
        """An explainer cannot be reached any more."""
        self._there.discard(key)

    def failed(self, key: ModelKey, reason: str) -> None:
        """An explainer says why it cannot load its model."""
        if key not in self._asked:
            return
        before = self._failures.get(key)
        times = before.times + 1 if before else 1
        pause_s = min(FIRST_PAUSE_S * 2 ** (times - 1), LONGEST_PAUSE_S)
        self._failures[key] = _Failure(reason, times, self._clock() + pause_s)
        self._forget(key)
        self._changed()

    def ended(self, key: ModelKey, reason: str) -> None:
        """The process of an explainer has ended although nobody told it to."""
        if key not in self._loaded:
            self.failed(key, reason)
        elif key in self._asked:  # the next question starts it again
            self._forget(key)
            self._changed()

    def state(self, key: ModelKey) -> str:
        """Say how the explainer of a served revision fares."""
        if key in self._there:
            return "ready"
        if key in self._asked:
            return "starting"
        failure = self._failures.get(key)
        return f"could not be started: {failure.reason}" if failure else ON_DEMAND

    def _forget(self, key: ModelKey) -> None:
        del self._asked[key]
        self._loaded.discard(key)

    def _changed(self) -> None:
        self.on_change()
        self._news.tell()
