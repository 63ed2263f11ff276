"""Forgets one subject in a monitor that runs: in a thread, beside the judges and the log's writer.

What belongs to the monitor's loop it has done there: entries are taken out of memory in one step,
and checkpoints are written as usual. The steps are in an order in which whoever is interrupted may
begin again:

1. All rows of before become files (`LogWriter.cut`), and those of the subject are looked for.
2. The monitor forgets the requests that they belong to, also in what monitors have left that run
   no more, and a new checkpoint makes the write-ahead log of before superfluous: a restart does not
   log the rows again.
3. The log's files are written anew, those last that tell whose rows they hold.
4. The monitor forgets once more: a label may have had a prediction looked up meanwhile.
5. All files of before are searched.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import pyarrow as pa

from serving.channel.messages.observation import ForgetMeta, ForgetReply
from serving.channel.monitor_shares import monitor_ids, monitor_of
from serving.errors import ModelNotReady, VigilError
from serving.log.folder_lock import folder_lock
from serving.log.subject import Subject
from serving.monitoring.forgetting import EVERY, Requests, requests_of
from serving.monitoring.former_monitors import FormerMonitors
from serving.monitoring.persistence import Persistence
from serving.monitoring.prediction_log import PredictionLog
from serving.monitoring.predictions import LoggedPredictions
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report

CUT_S: Final = 60.0
LOCK_S: Final = 60.0
"""Retention of another monitor may take so long."""

T = TypeVar("T")


class Ended(Exception):
    """The monitor stops."""


class Where(NamedTuple):
    """What a monitor has of subjects.

    Attributes:
        ident: of the monitor.
        monitors: how many the models are divided among.
        data_dir: of the instance, absolute.
        log: that the monitor writes.
        persistence: of what it knows.
        predictions: reads the log for others.
    """

    ident: str
    monitors: int
    data_dir: Path
    log: PredictionLog
    persistence: Persistence
    predictions: LoggedPredictions

    def mine(self, model: str | None) -> bool:
        """Whether files of a model, or of none, are this monitor's to deal with."""
        if model is None:
            return self.first
        return monitor_of(model, self.monitors) == self.ident

    @property
    def first(self) -> bool:
        """Whether this monitor deals with what is no monitor's own."""
        return self.ident == monitor_ids(self.monitors)[0]

    def former(self, gone: Requests) -> FormerMonitors:
        """Return the files of monitors that run no more, of which some are dealt with here."""
        gone = gone if self.first else gone._replace(text=b"")
        return FormerMonitors(self.data_dir, monitor_ids(self.monitors), gone)


class ForgetJob:
    """One order, and how far it is.

    Args:
        asked: the order.

    Attributes:
        reply: how far it is.
        error: why it has failed; None: it has not.
    """

    def __init__(self, asked: ForgetMeta) -> None:
        self.asked = asked
        self.reply = ForgetReply(finished=False)
        self.error: VigilError | None = None
        self._subject = Subject(asked.subject, asked.by, asked.model or None)
        self._stopping = threading.Event()

    @property
    def running(self) -> bool:
        """Whether it is neither finished nor failed."""
        return self.error is None and not self.reply.finished

    def stop(self) -> None:
        """Have it end after the file, or the save, that is being written."""
        self._stopping.set()

    async def run(self, where: Where) -> None:
        """Carry it out; never raises."""
        loop = asyncio.get_running_loop()
        try:
            self.reply = await _in_a_thread(lambda: self._run(where, loop), loop)
        except VigilError as error:
            self.error = error
        except Ended:
            self.error = ModelNotReady("it is not finished, do it again: the monitor has stopped")
        except (OSError, pa.ArrowException) as error:
            told = str(error).partition("\n")[0]
            self.error = VigilError(f"it is not finished, do it again: {told}")
        except Exception as error:  # noqa: BLE001 - who waits for the order is told
            report(Event.MONITOR_FAILED, "a subject could not be forgotten", error=error)
            self.error = VigilError("it is not finished: the monitor's own log says why")

    def _require_going_on(self) -> None:
        if self._stopping.is_set():
            raise Ended

    def _progress(self, what: str, done: int, of: int) -> None:
        self._require_going_on()
        self.reply = ForgetReply(finished=False, what=what, done=done, of=of)

    # -- the thread ---------------------------------------------------------------------

    def _run(self, where: Where, loop: asyncio.AbstractEventLoop) -> ForgetReply:
        # Here, because few are ever asked to: pyarrow.compute is 0.1 s of import.
        from serving.log.forget_running import RunningForget

        store, spool = where.log.place
        with folder_lock(spool, alone=False, timeout_s=LOCK_S) as locked:
            cut = where.log.cut(CUT_S) if locked else None
            if cut is None:
                why = "the disk is slow" if locked else "old files are being deleted"
                raise VigilError(f"nothing was deleted, do it again later: {why}")
            rows = RunningForget(store, spool, self._subject, where.mine, cut, self._progress)
            rows.await_files(where.log.trouble)
            logged = rows.find()
            found = rows.done.client_ids()
            others = where.former(requests_of(self._subject, found, where.mine))
            self._progress("saving the monitor's state", 0, 2)
            other = others.forget()
            gone = self._requests(where, found)
            first, newest, _ = _on(loop, self._saved(where, gone, {}, prove=False))
            rows.take_out()
            self._progress("saving the monitor's state", 1, 2)
            _on(loop, where.predictions.look_anew())
            again, _, searched = _on(loop, self._saved(where, gone, newest, prove=True))
            rows.prove()
            elsewhere = others.prove()
        done = rows.done
        return ForgetReply(
            finished=True,
            rows=done.rows,
            rewritten=done.rewritten,
            deleted=done.deleted,
            entries=first + again + other,
            searched=done.searched + searched + elsewhere,
            known=done.known,
            logged=logged,
        )

    def _requests(self, where: Where, found: Mapping[str, set[str]]) -> Requests:
        """Return what this monitor forgets in its own state.

        It may have predictions of a model that belongs to another monitor by now, which alone
        knows the subject's requests.
        """
        ident = self._subject.ident
        of_others = EVERY if ident is None else frozenset([ident])
        return requests_of(self._subject, found, where.mine, of_others=of_others)

    async def _saved(
        self, where: Where, gone: Requests, upto: dict[str, int], *, prove: bool
    ) -> tuple[int, dict[str, int], int]:
        return await where.persistence.forget(
            gone, upto, prove=prove, going_on=self._require_going_on
        )


async def _in_a_thread(work: Callable[[], T], loop: asyncio.AbstractEventLoop) -> T:
    """Run in a thread of its own, for which a process that ends does not wait."""
    done: asyncio.Future[T] = loop.create_future()

    def settle(tell: Callable[[Any], None], what: object) -> None:
        if not done.done():
            tell(what)

    def run() -> None:
        tell: Callable[[Any], None]
        what: object
        try:
            tell, what = done.set_result, work()
        except Exception as error:  # noqa: BLE001 - it is raised where it is waited for
            tell, what = done.set_exception, error
        with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits
            loop.call_soon_threadsafe(settle, tell, what)

    threading.Thread(target=run, name="forget", daemon=True).start()
    return await done


def _on(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    """Have the loop do something, and wait for it."""
    return asyncio.run_coroutine_threadsafe(work, loop).result()
