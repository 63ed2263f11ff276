"""Starts the process that looks for a cause, one at a time, and bounds how long it may take."""

from __future__ import annotations

import asyncio
import sys
from typing import Final

import msgspec

from serving.channel.messages.causes import CAUSE_TIMEOUT_S, Cause, CauseMeta
from serving.errors import NotFound
from serving.log.place import LogPlace
from serving.models.repository.folder import ModelEntry
from serving.monitoring.causes.job import CauseJob, job_of

MODULE: Final = "serving.backtest.cause_process"
"""By name: what explains rows of the past stands above the monitor, which only starts it."""

_decode = msgspec.json.Decoder(Cause).decode


class CauseRunner:
    """Looks for causes.

    Args:
        place: where the log is; None: nothing is logged.
        timeout_s: how long one may take, in seconds.
        module: what is run.
    """

    def __init__(
        self, place: LogPlace | None, timeout_s: float = CAUSE_TIMEOUT_S, module: str = MODULE
    ) -> None:
        self._place = place
        self._timeout_s = timeout_s
        self._module = module
        self._turn = asyncio.Lock()

    async def find(self, asked: CauseMeta, entries: list[ModelEntry]) -> Cause:
        """Return what the log's rows tell; where that is nothing, the cause says why.

        Args:
            asked: what is to be explained.
            entries: the versions of the model, the newest last.

        Raises:
            NotFound: there are none.
        """
        if not entries:
            raise NotFound(f"model '{asked.model[:128]}' is not watched here")
        if self._place is None:
            return Cause(
                summary="the cause is not known: it is looked for in the prediction log, and "
                "vigil.yaml says `log: null`"
            )
        async with self._turn:
            return await self._run(job_of(asked, entries, self._place))

    async def _run(self, job: CauseJob) -> Cause:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", self._module,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            async with asyncio.timeout(self._timeout_s):
                answer, _ = await process.communicate(msgspec.json.encode(job))
        except TimeoutError:
            return Cause(
                summary=f"the cause is not known: looking for it took more than "
                f"{self._timeout_s:g} s; `vigil why {job.asked.model} --last 1d` takes its time"
            )
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        try:
            return _decode(answer)
        except msgspec.MsgspecError:
            return Cause(
                summary="the cause is not known: the process that looks for it ended with "
                f"{process.returncode}"
            )
