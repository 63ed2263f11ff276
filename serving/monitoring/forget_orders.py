"""Orders to forget a subject: one at a time, and who repeats one is told how far it is."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from serving.channel.messages.observation import ForgetMeta, ForgetReply
from serving.errors import ModelNotReady, Overloaded, Unsupported
from serving.monitoring.forget_job import ForgetJob, Where
from serving.monitoring.persistence import Persistence
from serving.monitoring.prediction_log import PredictionLog
from serving.monitoring.predictions import LoggedPredictions

STOP_S: Final = 5.0
"""What an order may take to end where the monitor stops; it ends with the process then."""


class ForgetOrders:
    """Carries orders out. Belongs to one loop.

    Args:
        ident: of the monitor.
        data_dir: of the instance.
        log: that the monitor writes; None: nothing is logged.
        persistence: of what it knows.
        predictions: reads the log for others.
    """

    def __init__(
        self,
        ident: str,
        data_dir: Path,
        log: PredictionLog | None,
        persistence: Persistence,
        predictions: LoggedPredictions,
    ) -> None:
        self._ident, self._data_dir = ident, data_dir.absolute()
        self._log, self._persistence, self._predictions = log, persistence, predictions
        self._monitors = 0
        self._stopping = False
        self._job: ForgetJob | None = None
        self._task: asyncio.Task[None] | None = None

    def serve(self, monitors: int) -> None:
        """Take note of how many monitors the models are divided among."""
        self._monitors = monitors

    def asked(self, asked: ForgetMeta) -> ForgetReply:
        """Begin an order, or say how far it is.

        Raises:
            Overloaded: another one is being carried out.
            ModelNotReady: the monitor is starting, or stops.
            Unsupported: nothing is logged.
            VigilError: it has failed; the message says why, and what to do.
        """
        job = self._job
        if job is None or job.asked != asked:
            job = self._begin(asked)
        if job.error is not None:
            raise job.error.anew()
        return job.reply

    async def stop(self) -> None:
        """End what is being done, after a file or a save, and take no order any more."""
        self._stopping = True
        if self._job is not None:
            self._job.stop()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=STOP_S)

    def _begin(self, asked: ForgetMeta) -> ForgetJob:
        if self._log is None:
            raise Unsupported("predictions are not logged here: vigil.yaml says `log: null`")
        if self._stopping or not self._monitors:
            raise ModelNotReady("the monitor is starting or stopping; retry later", retry_after_s=1)
        if self._job is not None and self._job.running:
            raise Overloaded(
                "another order to forget is being carried out; wait until it is finished, and then "
                "do this again",
                retry_after_s=5,
            )
        where = Where(
            self._ident,
            self._monitors,
            self._data_dir,
            self._log,
            self._persistence,
            self._predictions,
        )
        self._job = job = ForgetJob(asked)
        self._task = asyncio.get_running_loop().create_task(job.run(where))
        return job
